import type { EventRecord } from './event.ts';
import type { DeadLetterReason } from './outcome.ts';

/**
 * What happens inside, as typed events: the only thing the stages say to the outside. Logs, metrics and the demo's live
 * view subscribe; no stage holds a counter or a logger.
 */
export type TelemetryEvent =
  | { readonly type: 'engine.started'; readonly sources: number; readonly observers: number; readonly tookMs: number }
  | { readonly type: 'engine.stopping'; readonly reason: string }
  | { readonly type: 'engine.stopped' }
  | { readonly type: 'rules.loaded'; readonly version: string; readonly observers: number }
  | { readonly type: 'rules.refused'; readonly message: string }
  | { readonly type: 'database.unreachable'; readonly stage: string; readonly message: string }
  | { readonly type: 'database.reached'; readonly stage: string; readonly afterMs: number }
  | { readonly type: 'stage.failed'; readonly stage: string; readonly error: unknown }
  | { readonly type: 'listener.connected' }
  | { readonly type: 'listener.disconnected'; readonly message: string }
  | { readonly type: 'listener.deaf' }
  | { readonly type: 'routing.acquired' }
  | { readonly type: 'routing.lost'; readonly reason: string }
  | { readonly type: 'capture.drift'; readonly steps: readonly string[] }
  /** This process records the channel. */
  | { readonly type: 'channel.acquired'; readonly channel: string }
  | { readonly type: 'channel.lost'; readonly channel: string; readonly reason: string }
  /** Heard, not recorded by anybody, and more than memory holds. */
  | { readonly type: 'capture.lost'; readonly channel: string; readonly count: number }
  /** Sessions of processes that fell silent, ended so that what they did is free for others. */
  | { readonly type: 'instance.evicted'; readonly sessions: number }
  | { readonly type: 'capture.notification'; readonly source: string; readonly bytes: number }
  | EventsRouted
  | { readonly type: 'decide.fault'; readonly event: EventRecord; readonly observer: string; readonly message: string }
  | AttemptFinished
  | DeliveryBuried
  | DeliveriesOrphaned
  | ActionLogged
  /** The table refused an outcome for another reason than being away: a dead letter that could not be stored, say. */
  | {
      readonly type: 'settlement.refused';
      readonly delivery: string;
      readonly outcome: 'delivered' | 'retry' | 'dead';
      readonly error: unknown;
    }
  | { readonly type: 'delivery.released'; readonly count: number; readonly reason: string }
  | { readonly type: 'delivery.fenced'; readonly count: number }
  | { readonly type: 'delivery.rescued'; readonly count: number }
  | BreakerChanged
  | QuotaExceeded
  /** Nothing is sent there until a person enables it; what is queued waits. */
  | {
      readonly type: 'destination.disabled';
      readonly destination: string;
      readonly by: 'person' | 'receiver';
      readonly reason: string | null;
    }
  | { readonly type: 'destination.enabled'; readonly destination: string }
  /** The receiver asked for it (Retry-After). */
  | { readonly type: 'destination.paused'; readonly destination: string; readonly forMs: number }
  | { readonly type: 'instance.suspended'; readonly silentMs: number }
  | { readonly type: 'retention.dropped'; readonly partition: string }
  /** Written whole and read back; what is not dropped yet is written again. */
  | {
      readonly type: 'retention.archived';
      readonly partition: string;
      /** Path. */
      readonly file: string;
      readonly rows: number;
      /** Of the file. */
      readonly bytes: number;
    }
  /** Its indexes had grown too large for what it holds. */
  | {
      readonly type: 'queue.rebuilt';
      readonly indexes: readonly string[];
      /** Of all of them. */
      readonly bytesBefore: number;
      readonly bytesAfter: number;
      readonly tookMs: number;
    }
  /** The log is not kept as the settings say. Told when it begins, and when the reasons change. */
  | { readonly type: 'retention.hindered'; readonly complaints: readonly string[] };

/** Deliveries that became dead letters because so many of their tenant wait; told at once, then every ten seconds. */
export interface QuotaExceeded {
  readonly type: 'quota.exceeded';
  readonly tenant: string;
  readonly deliveries: number;
  /** What the tenant may have. */
  readonly most: number;
}

export interface BreakerChanged {
  readonly type: 'breaker.changed';
  readonly destination: string;
  /** Of one tenant; null: of the destination, or of what has no tenant. */
  readonly tenant: string | null;
  readonly state: 'open' | 'half-open' | 'closed';
  /** Only for `open`. */
  readonly openForMs: number | null;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What a `log` action, or a custom one, has to say. Without secrets of the rules. */
export interface ActionLogged {
  readonly type: 'action.logged';
  readonly level: LogLevel;
  readonly message: string;
  /** The rules' own, besides what says where it comes from. */
  readonly fields: Readonly<Record<string, unknown>> | null;
  readonly destination: string;
  readonly observer: string | null;
  readonly action: string | null;
  /** null when it is not about an event. */
  readonly event: EventRecord | null;
}

export interface EventsRouted {
  readonly type: 'events.routed';
  readonly events: readonly RoutedEvent[];
  /** From reading them to the commit of what was decided. */
  readonly tookMs: number;
}

export interface RoutedEvent {
  readonly record: EventRecord;
  /** `observer/action` of each delivery it led to; empty when no observer fired. */
  readonly deliveries: readonly { readonly observer: string; readonly action: string; readonly destination: string }[];
}

/** One attempt, wide: everything worth knowing about it in one record. */
export interface AttemptFinished {
  readonly type: 'attempt.finished';
  readonly delivery: string;
  readonly event: EventRecord;
  readonly observer: string;
  readonly action: string;
  readonly destination: string;
  readonly attempt: number;
  readonly durationMs: number;
  readonly outcome: 'delivered' | 'retry' | 'dead';
  /** Set when `outcome` is `dead`. */
  readonly reason: DeadLetterReason | null;
  readonly status: number | null;
  readonly errorClass: string | null;
  readonly message: string | null;
  /** Delay before the next attempt; null when there is none. */
  readonly retryInMs: number | null;
  /** True when this delivery replays a dead letter. */
  readonly replay: boolean;
}

/** A dead letter without an attempt: its receiver was not asked. */
export interface DeliveryBuried {
  readonly type: 'delivery.buried';
  readonly delivery: string;
  /** null: it is no longer in the log. */
  readonly event: EventRecord | null;
  readonly observer: string;
  readonly action: string;
  readonly destination: string;
  readonly reason: DeadLetterReason;
  readonly message: string;
  /** Made before. */
  readonly attempts: number;
  /** True when this delivery replays a dead letter. */
  readonly replay: boolean;
}

/**
 * The same of many at once: what waited for a destination that no rule names any more. By rule and not one by one, for a
 * whole queue may have waited there.
 */
export interface DeliveriesOrphaned {
  readonly type: 'delivery.orphaned';
  readonly observer: string;
  readonly action: string;
  readonly destination: string;
  readonly reason: DeadLetterReason;
  readonly count: number;
}

export type Telemetry = (event: TelemetryEvent) => void;
