/** Capture: notifications become events, each once, whoever hears them. */

/**
 * A place in the stream of a channel's notifications, which all listeners hear in one order: behind the mark of this
 * number and `count` notifications of the channel after it.
 */
export interface ChannelPosition {
  readonly mark: number;
  readonly count: number;
}

/** How far a channel is recorded; `version` changes with it. */
export interface StoredPosition extends ChannelPosition {
  readonly version: string;
}

/** What was heard on a channel, and where that leads. */
export interface ChannelBatch {
  readonly channel: string;
  /** Counts only when this is still the version stored. */
  readonly version: string;
  readonly reaches: ChannelPosition;
}

export interface Notification {
  readonly channel: string;
  readonly source: string;
  readonly payload: string;
}

/** A session that can hold channels: while it does, no other session holds them. */
export interface NotificationLog {
  /**
   * Sends the next mark to all that listen, as `<number> <token>`, and says in the same transaction that this process
   * hears the channels from there on, unless it said an earlier mark before.
   */
  announce(token: string, channels: readonly string[]): Promise<void>;
  /** Says since which marks this process hears which channels without a gap: these, and no others. */
  publish(since: ReadonlyMap<string, number>): Promise<void>;
  /** Takes those of the channels that nobody holds. @returns how far they are recorded */
  take(channels: readonly string[]): Promise<ReadonlyMap<string, StoredPosition>>;
  giveBack(channels: readonly string[]): Promise<void>;
  /** How far these channels are recorded; those of which nobody knows are left out. */
  look(channels: readonly string[]): Promise<ReadonlyMap<string, ChannelPosition>>;
  /** Whether another living process knows of notifications of the channel from before this mark. */
  heardByOthers(channel: string, before: number): Promise<boolean>;
  /**
   * Atomically for each channel: its notifications are events, and it is recorded that far.
   * @returns the channels that were; on the others somebody else wrote first, and nothing was written
   */
  record(batches: readonly ChannelBatch[], notifications: readonly Notification[]): Promise<ReadonlySet<string>>;
  /** Never throws. */
  close(): Promise<void>;
}
