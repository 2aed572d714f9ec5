/** Advisory locks (class, object). The class is "pgob" in ASCII; migrations/0001 names the same numbers. */
export const lockClass = 1_885_826_914;

export const locks = {
  migration: 1,
  /** Held by the one instance that routes. */
  routing: 2,
  /** Held exclusively while the router sleeps; writers that get it shared need not notify. */
  routerAsleep: 3,
  housekeeping: 4,
  /** Held exclusively by version 0.1 while it records channels, and shared by all that came after it. */
  formerRecorder: 5,
  /** Held by the one `apply` that changes triggers. */
  apply: 6,
  /** Held by the one instance that archives and drops days, while it is at one. */
  retention: 7,
  /** Held by the one instance that rebuilds indexes of the queue. */
  rebuilding: 8,
} as const;

/** A class of its own; the object is `hashtext(channel)`. Held by the session that records the channel. */
export const channelLockClass = lockClass + 1;

/** `<number> <token>`: where in the stream of all notifications somebody began to listen. */
export const markChannel = 'pg_observers_mark';

/** The channel that wakes a sleeping router. A latency hint, never data. */
export const wakeChannel = 'pg_observers_wake';

/** What a wake-up is for. Anything else: events in the log. */
export const wakeFor = {
  /** Something in the queue is due that no router put there. */
  deliveries: 'deliveries',
  /** A condition is to be evaluated again. */
  replays: 'replays',
  /** An instance stopped: what it did is free. */
  places: 'places',
  /** A destination was disabled, enabled or paused. */
  destinations: 'destinations',
} as const;
