/** Recover: instances know of each other, and what one left behind another one takes over. */

import type { DeadLetterReason } from '../../domain/outcome.ts';
import type { DestinationHold } from './deliver.ts';

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

/** Indexes of the queue that had grown too large for what it holds. */
export interface RebuiltQueue {
  readonly indexes: readonly string[];
  /** Of all indexes of the queue. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly tookMs: number;
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
