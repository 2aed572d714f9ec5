import type { ClaimedDelivery } from '../../transport/contract.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import type { TenantLane } from './tenant-lane.ts';

/** One request's place, from `next` to `finished`. */
export interface Turn {
  readonly claimed: ClaimedDelivery;
  /** What goes with it in one request. */
  readonly others: readonly ClaimedDelivery[];
  readonly startedAt: number;
  /** The breaker it began under, and that one's phase: new rules may have brought another. */
  readonly breaker: CircuitBreaker | null;
  readonly phase: number;
  /** null: nothing limits single tenants. */
  readonly tenant: TenantLane | null;
}
