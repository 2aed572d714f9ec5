/**
 * Compares what committed with what arrived. Pure: lists in, report out; all times are milliseconds of one clock.
 *
 * - lost: a delivery that had to be, never accepted (2xx, answered to the end), and no dead letter.
 * - repeat: a request for a delivery of which an earlier one had been accepted. What was refused before is tried again by
 *   design, and no repeat. A repeat is explained by a fault that permits it when the delivery was in flight at it: its
 *   accepted request began before the fault ended, and its outcome was not written when the fault began. No fault explains
 *   a request begun after the delivery was settled: by then nobody may hold it.
 * - out of order: in a lane (observer, key), a request for an older change after one for a younger change. A repeat that
 *   arrives late is no break only when its fault holds requests back (`late`: a process that was stopped in the middle of
 *   sending, a network that delivered late): a sender can't take back what is on its way. These are counted.
 * - wrong payload: a body other than the change that committed; or a message id that is not the delivery's own.
 * - phantom: a request for something that never committed.
 * - dead letters: all of them, and those nobody refused.
 */

export interface Fault {
  /** What was done: `kill`, `pause`, …. */
  readonly kind: string;
  /** What it may lead to. `late repeats`: it can also hold back a request that was being sent. */
  readonly permits: 'nothing' | 'repeats' | 'late repeats';
  /** Only what this instance had in flight; default: anybody's. From 1. */
  readonly instance?: number;
  /** Whether that instance routed when it began. */
  readonly routed?: boolean;
  readonly note?: string;
  readonly startAt: number;
  readonly endAt: number;
}

/** One delivery that had to be. */
export interface Expected {
  /** Unique: observer and change. */
  readonly delivery: string;
  /** Of the body. */
  readonly digest: string;
  /** Null when the observer asks for no order. Unique across observers. */
  readonly lane: string | null;
  /** Within the lane; of a younger change it is greater. */
  readonly order: number;
}

/** One request. */
export interface Arrival {
  readonly delivery: string;
  readonly digest: string;
  readonly messageId: string;
  readonly instance: number;
  /** When it had been received. */
  readonly at: number;
  /** When its sender says that it began, at the latest; `at` when unknown. */
  readonly begunAt: number;
  /** Answered with 2xx to the last byte. */
  readonly accepted: boolean;
  /** Answered so that the sender must give up. */
  readonly refused: boolean;
}

export interface DeadLetter {
  readonly messageId: string;
  readonly reason: string;
}

export interface History {
  readonly expected: readonly Expected[];
  /** In order of arrival. */
  readonly arrivals: readonly Arrival[];
  readonly faults: readonly Fault[];
  /** When the delivery left the queue for good, by message id. */
  readonly settledAt: ReadonlyMap<string, number>;
  readonly deadLetters: readonly DeadLetter[];
  /** Rows of the queue after the drain. */
  readonly leftovers: number;
  readonly repeats: 'none' | 'in flight';
}

export interface Violation {
  readonly kind: keyof Pick<
    Verdict,
    | 'lost'
    | 'unexplainedDuplicates'
    | 'outOfOrder'
    | 'wrongPayload'
    | 'phantoms'
    | 'unexplainedDeadLetters'
    | 'leftovers'
  >;
  readonly delivery: string;
  readonly text: string;
}

export interface Verdict {
  readonly deliveries: number;
  readonly requests: number;
  readonly lost: number;
  readonly duplicates: number;
  readonly unexplainedDuplicates: number;
  /** Of the explained ones: how many came after a younger change of their lane. */
  readonly lateRepeats: number;
  readonly outOfOrder: number;
  readonly wrongPayload: number;
  readonly phantoms: number;
  readonly deadLetters: number;
  readonly unexplainedDeadLetters: number;
  readonly leftovers: number;
  readonly violations: readonly Violation[];
}
