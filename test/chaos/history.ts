/** What the checker is given: what had to arrive, what did, and what was done in between. Times are milliseconds of one clock. */

export interface Fault {
  /** What was done: `kill`, `pause`, …. */
  readonly kind: string;
  /** What it may lead to. `late repeats`: it can also hold back a request that was being sent. */
  readonly permits: 'nothing' | 'repeats' | 'late repeats';
  /** Only what this instance had in flight; default: anybody's. From 1. */
  readonly instance?: number;
  /** Whether that instance routed when it began, and another one stood by. */
  readonly routed?: boolean;
  /** The process goes on afterwards: the one request that it was about to begin is begun then. */
  readonly wakes?: boolean;
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
  /** Need not arrive: the rules did not always ask for it. */
  readonly optional: boolean;
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
  /** And so soon that the sender can't have given up: else it may repeat, as it could not know. */
  readonly inTime: boolean;
  /** Answered so that the sender must give up. */
  readonly refused: boolean;
}

export interface DeadLetter {
  readonly delivery: string;
  readonly reason: string;
}

export interface History {
  readonly expected: readonly Expected[];
  /** In order of arrival. */
  readonly arrivals: readonly Arrival[];
  readonly faults: readonly Fault[];
  /** When the delivery left the queue for good, by message id. */
  readonly settledAt: ReadonlyMap<string, number>;
  /** Message ids of deliveries that did so more than once. */
  readonly settledTwice: readonly string[];
  readonly deadLetters: readonly DeadLetter[];
  /** Rows of the queue after the drain. */
  readonly leftovers: number;
  readonly repeats: 'none' | 'in flight';
}
