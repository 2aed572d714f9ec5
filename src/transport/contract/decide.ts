/** Decide: a checkpoint moves over the log, and what the rules say of its events is queued with the same step. */

import type { EventRecord } from '../../domain/event.ts';
import type { ClaimedDelivery } from './deliver.ts';

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
  /** Whether there is more behind what the last `commit` wrote, that nobody will ring for. */
  readonly hasMore: boolean;
  /** Whether there are any, as the last look saw it that found no events. */
  readonly replaysWait: boolean;
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
