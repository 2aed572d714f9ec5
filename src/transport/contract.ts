/**
 * Where events and deliveries live. The stages know only these interfaces and meet nowhere else: capture fills the log,
 * decide moves a checkpoint over it and fills the queue, deliver empties the queue, recover looks after both.
 *
 * All methods may throw when the transport is away; callers wait and try again. All times are the transport's own clock:
 * the clocks of the sidecars' hosts decide nothing.
 */

import type { Delivery } from '../domain/delivery.ts';
import { UserError } from '../domain/errors.ts';
import type { EventRecord } from '../domain/event.ts';
import type { DeadLetterReason } from '../domain/outcome.ts';
import type { LogDay } from '../domain/retention.ts';

// --------------------------------------------------------------------------------------------------- capture

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

// ---------------------------------------------------------------------------------------------------- decide

/** Opened by the one instance that routes; everything on it is lost together with its connection. */
export interface RoutingSession {
  /** Events not routed yet, in the order in which they are to be routed; empty when there are none. */
  read(): Promise<readonly EventRecord[]>;
  /**
   * Atomically: the deliveries exist, and the events of the last `read` count as routed.
   * @param handover deliveries that this process takes at once: they are queued as its claims
   * @returns those of the handover, save what waits behind others of its lane; null when another router moved the
   * checkpoint first: nothing was written, close this session
   */
  commit(decisions: Decisions, handover?: Handover | null): Promise<readonly ClaimedDelivery[] | null>;
  /** Dead letters whose condition is to be evaluated again, with their events. */
  readReplays(): Promise<readonly ReplayRequest[]>;
  commitReplay(request: ReplayRequest, decisions: Decisions): Promise<void>;
  /**
   * Says that this router is about to sleep, so that writers notify it from now on.
   * @returns false when a writer that saw it awake has not ended yet: keep polling
   */
  fallAsleep(): Promise<boolean>;
  wakeUp(): Promise<void>;
  readonly asleep: boolean;
  /** Never throws. */
  close(): Promise<void>;
}

export interface Decisions {
  readonly deliveries: readonly NewDelivery[];
  readonly faults: readonly ConditionFault[];
  /** Their tenants have as many waiting as they may: dead letters, to be replayed. */
  readonly overQuota?: readonly NewDelivery[];
  /** Of observers in shadow mode; absent: none. */
  readonly shadows?: readonly ShadowRecord[];
}

/** What an observer in shadow mode would have sent: a line of the history, in place of a delivery. */
export interface ShadowRecord {
  readonly event: EventRecord;
  readonly observer: string;
  /** Empty, as is the destination, when the condition could not be evaluated. */
  readonly action: string;
  readonly destination: string;
  readonly ruleVersion: string;
  /** Without secrets; undefined when it can't be told. */
  readonly request: unknown;
  /** `condition` or `template`; null: it would have been sent. */
  readonly errorClass: string | null;
  readonly errorMessage: string | null;
}

export interface NewDelivery {
  readonly event: EventRecord;
  /** The event as it stands in the log. */
  readonly stored: EventRecord;
  readonly observer: string;
  readonly action: string;
  readonly destination: string;
  readonly orderingKey: string | null;
  readonly ruleVersion: string;
}

/**
 * Deliveries that are claimed as they are queued. They cost no round trip and no update more, which is most of the way
 * from a commit to its receivers.
 */
export interface Handover {
  /** Whose claims they are. */
  readonly instance: string;
  /** A random number each, digits of a bigint. */
  readonly leases: ReadonlyMap<NewDelivery, string>;
}

/** Places kept free for a handover until it is known what became of it: exactly one of the two is called. */
export interface Reservation extends Handover {
  accept(claimed: readonly ClaimedDelivery[]): void;
  /** Whether they were queued only the table knows. */
  abandon(): void;
}

/** A condition that could not be evaluated: a dead letter of (event, observer), without action. */
export interface ConditionFault {
  readonly event: EventRecord;
  readonly observer: string;
  readonly message: string;
  readonly ruleVersion: string;
}

export interface ReplayRequest {
  readonly deadLetterId: string;
  readonly observer: string;
  /** Of the rule that could not be evaluated. */
  readonly ruleVersion: string;
  readonly event: EventRecord;
}

/** Events that were routed before, for a replay. */
export interface ReplayLog {
  /** Those that are left, in the order of the log. */
  read(): AsyncIterable<readonly EventRecord[]>;
  /**
   * Atomically: the deliveries exist, and the replay has come that far.
   * @returns false when another process moved it: nothing was written
   */
  commit(decisions: Decisions, step: ReplayStep): Promise<boolean>;
}

export interface ReplayStep {
  /** The last event that it has dealt with; null: none in this step. */
  readonly afterId: string | null;
  /** How many it looked at in this step. */
  readonly events: number;
  readonly finished: boolean;
}

// --------------------------------------------------------------------------------------------------- deliver

export interface DeliveryQueue {
  /** @param memoryBytes for the events that come along, all together, about; the others are loaded when their turn comes */
  claim(wanted: readonly ClaimWish[], memoryBytes?: number): Promise<ClaimedBatch>;
  /** Events too large to come along with their claim. */
  loadEvent(delivery: Delivery): Promise<EventRecord | null>;
  /**
   * Reads a note. A `shared` one that is missing is this delivery's to leave from now on, until its claim ends.
   * @returns `busy` when another delivery is about to leave it; otherwise its value, null for none
   */
  openNote(delivery: Delivery, name: NoteName): Promise<OpenedNote>;
  /** @returns ids of the deliveries that were settled; the others had been taken over by another instance */
  settle(settlements: readonly Settlement[]): Promise<ReadonlySet<string>>;
  /** Hands claims back unattempted, due after `delayMs` at the earliest. @returns how many */
  release(claims: readonly Delivery[], delayMs: number): Promise<number>;
  /** Hands back whatever this instance has claimed save these: what it doesn't know of, or on shutdown all. @returns how many */
  releaseUnknown(held: readonly string[]): Promise<number>;
}

/** Names a note of the delivery's destination. */
export interface NoteName {
  readonly key: string;
  /** false: it is this delivery's own. */
  readonly shared: boolean;
}

export type OpenedNote = { readonly busy: true } | { readonly busy: false; readonly value: unknown };

export interface ClaimWish {
  readonly destination: string;
  readonly slots: number;
  /** How its tenants share the slots; null: it should have none. When it has, nothing is claimed, and the answer says so. */
  readonly turns?: TenantTurns | null;
  /** When it is time for those that are due; null or absent: at once. */
  readonly gather?: GatherWish | null;
}

/**
 * Nothing is claimed before the oldest has been due for `waitMs`, `enough` are due, or one is due again; then all that is due. What
 * waits stays in the queue. For each tenant by itself.
 */
export interface GatherWish {
  readonly waitMs: number;
  readonly enough: number;
  /** For one tenant at most: a request's worth. */
  readonly most: number;
}

/** Tenants take turns, by name, with an even share each; what has no tenant is one more of them. */
export interface TenantTurns {
  /** Who had the last turn; null: what has no tenant. */
  readonly after: string | null;
  /** The most for one of them. */
  readonly most: number;
  /** The most for those for whom it is another figure; 0: passed over. */
  readonly rooms: ReadonlyMap<string | null, number>;
}

/** What a look found of the tenants of a destination. */
export interface TenantsSeen {
  /** Anything of a tenant is ready, or will be when its time comes. */
  readonly any: boolean;
  readonly last: string | null;
  /** There may be more to claim at once. */
  readonly more: boolean;
  /** Of these there is more, and only the room they were given kept it there. */
  readonly heldBack: readonly (string | null)[];
}

export interface ClaimedBatch {
  readonly claimed: readonly ClaimedDelivery[];
  /** Milliseconds until the next delivery of the wanted destinations is due; null when none is waiting. */
  readonly nextDueMs: number | null;
  /** By destination, of those that may have tenants. */
  readonly tenants?: ReadonlyMap<string, TenantsSeen>;
}

export interface ClaimedDelivery {
  readonly delivery: Delivery;
  /** null: large, load it when its turn comes. */
  readonly event: EventRecord | null;
  /** What the event takes in memory as text, about; at least 1. */
  readonly bytes: number;
}

export interface Settlement {
  readonly delivery: Delivery;
  readonly kind: 'delivered' | 'retry' | 'dead';
  /** When the attempt began, in the time of performance.now(); null when there was none (a rule that is gone). */
  readonly startedAt: number | null;
  readonly durationMs: number;
  /** Only for `retry`. */
  readonly delayMs: number;
  /** Only for `dead`. */
  readonly reason: DeadLetterReason | null;
  readonly status: number | null;
  readonly errorClass: string | null;
  readonly errorMessage: string | null;
  readonly responseExcerpt: string | null;
  /** Only for `dead`: what was to be sent, without secrets. */
  readonly request: unknown;
  /** Only for `dead`, in an ordered lane: what follows waits until the dead letter is replayed with success or discarded. */
  readonly holdsLane: boolean;
  /** Whether the history keeps this attempt. */
  readonly keepAttempt: boolean;
  /** Written in the same transaction; null or absent: none. A value of null removes the note. */
  readonly note?: (NoteName & { readonly value: unknown }) | null;
  /** What it means for the destination and everything that waits for it, written in the same transaction; null or absent: nothing. */
  readonly hold?: RequestedHold | null;
}

/** A dead letter without an attempt. */
export function unattempted(
  delivery: Delivery,
  reason: DeadLetterReason,
  errorMessage: string,
  holdsLane: boolean,
): Settlement {
  return {
    delivery,
    kind: 'dead',
    startedAt: null,
    durationMs: 0,
    delayMs: 0,
    reason,
    status: null,
    errorClass: null,
    errorMessage,
    responseExcerpt: null,
    request: undefined,
    holdsLane,
    keepAttempt: false,
    hold: null,
  };
}

/** The receiver asked for nothing more, for a while or until a person says otherwise. */
export type RequestedHold =
  | { readonly kind: 'disabled'; readonly reason: string }
  | { readonly kind: 'paused'; readonly forMs: number };

/** A destination that is sent nothing: what is queued for it waits. */
export interface DestinationHold {
  readonly destination: string;
  /** null: it is only paused. */
  readonly disabledBy: 'person' | 'receiver' | null;
  readonly reason: string | null;
  /** Until its pause ends, milliseconds; 0: there is none. */
  readonly pausedForMs: number;
}

/**
 * Delivered, and nothing else follows: neither a lane nor a dead letter waits for it, nor a reader of its note, and its
 * destination goes on. Most outcomes are, and a batch of nothing else takes a statement half as dear.
 */
export function isPlain({ kind, delivery, note, hold }: Settlement): boolean {
  return kind === 'delivered' && delivery.orderingKey === null && delivery.deadLetterId === null && !note && !hold;
}

// --------------------------------------------------------------------------------------------------- recover

/** A circuit breaker that is not closed. */
export interface BreakerReport {
  readonly destination: string;
  /** Of one tenant; null: of the destination, or of what has no tenant. */
  readonly tenant: string | null;
  readonly state: 'open' | 'half-open';
}

export interface InstanceRegistry {
  /** Says that this instance is alive, and with which rules. @param timeoutMs silence after which another one counts as late */
  heartbeat(
    rulesVersion: string,
    routing: boolean,
    timeoutMs: number,
    breakers?: readonly BreakerReport[],
  ): Promise<Heartbeat>;
  /** Takes over the claims of instances whose heartbeat stopped. @returns how many */
  rescue(timeoutMs: number): Promise<number>;
  /**
   * Ends the sessions by which a silent process would keep what only one may do: a frozen one's kernel, or a proxy, answers for
   * it. Those of this role; others end by `idle_session_timeout`. @returns how many
   */
  evict(timeoutMs: number): Promise<number>;
  /**
   * Deliveries for destinations that no rule names any more become dead letters: some of them, so that whoever asks until
   * there are none can say what is done already.
   * @param destinations those that rules name
   */
  buryOrphans(destinations: readonly string[]): Promise<readonly Orphans[]>;
  deregister(): Promise<void>;
}

/** Deliveries of one rule. */
export interface Orphans {
  readonly observer: string;
  readonly action: string;
  readonly destination: string;
  readonly reason: DeadLetterReason;
  readonly count: number;
}

export interface Heartbeat {
  /** No living instance has loaded other rules after this one did. */
  readonly newestRules: boolean;
  /** Others took this instance for dead: its claims are theirs, and it must go on under another id. */
  readonly declaredDead: boolean;
  /** Another instance is silent: its claims and its places may have to be taken over. */
  readonly othersLate: boolean;
  /** Another instance is not silent: what this one leaves, that one may take. */
  readonly othersAlive: boolean;
  /** Those in force. */
  readonly holds: readonly DestinationHold[];
}

// --------------------------------------------------------------------------------------------------- recover: archive

/** Where days are kept once they leave the log. */
export interface DayArchive {
  /** @throws ArchiveError when nothing can be stored there now; asked before a day is read */
  check(): Promise<void>;
  /**
   * Stores a day whole, or not at all; one that is there already is replaced. Lines are taken as fast as they can be
   * written. When this resolves they have been read back, and a crash can't take them away any more.
   *
   * @param lines JSON, without line breaks
   * @throws ArchiveError, or whatever `lines` throws
   */
  store(day: StoredDay, lines: AsyncIterable<string>): Promise<ArchivedDay>;
  /**
   * What this process has stored already, read back again; null: it has not. A day whose drop failed need not be written
   * again when it has as many rows as then: rows are added, and never changed.
   */
  stored(day: StoredDay): Promise<ArchivedDay | null>;
}

export interface StoredDay extends Pick<LogDay, 'name' | 'table' | 'day'> {
  /** Whose log it is: two databases must not take one directory for theirs. */
  readonly database: string;
}

export interface ArchivedDay {
  /** Path. */
  readonly file: string;
  readonly rows: number;
  /** Of the file. */
  readonly bytes: number;
  /** Of the lines, each with its line break; hexadecimal. */
  readonly sha256: string;
}

/** The archive can't take a day, or a file of it is damaged: what is wrong, and where. A day that it refused stays in the log. */
export class ArchiveError extends UserError {
  override readonly name = 'ArchiveError';
}
