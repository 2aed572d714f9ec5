import type { CircuitBreakerPolicy, Destination, RateLimit } from '../../domain/rules.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import { TokenBucket } from './token-bucket.ts';

/** What limits each tenant of a destination. */
export interface TenantPolicy {
  readonly breaker: CircuitBreakerPolicy | null;
  readonly rate: RateLimit | null;
  readonly concurrency: number | null;
}

/** What has no tenant is one more as to the breaker; the other limits are for tenants. */
export function tenantPolicy(destination: Destination, tenant: string | null): TenantPolicy {
  const { circuitBreaker, tenantRateLimit, tenantConcurrency } = destination;
  const breaker = circuitBreaker?.per === 'tenant' ? circuitBreaker : null;
  if (tenant === null) return { breaker, rate: null, concurrency: null };
  return { breaker, rate: tenantRateLimit, concurrency: tenantConcurrency };
}

/** One tenant's share of a lane: what it has in flight there, and what limits it. */
export class TenantLane {
  inFlight = 0;
  /** Places for claims that are on their way. */
  reserved = 0;
  #policy: TenantPolicy;
  #breaker: CircuitBreaker | null;
  #bucket: TokenBucket | null;
  /** Its rate at all destinations together. */
  #common: TokenBucket | null;

  constructor(policy: TenantPolicy, common: TokenBucket | null, now: number) {
    this.#policy = policy;
    this.#breaker = policy.breaker === null ? null : new CircuitBreaker(policy.breaker);
    this.#bucket = policy.rate === null ? null : new TokenBucket(policy.rate, now);
    this.#common = common;
  }

  get breaker(): CircuitBreaker | null {
    return this.#breaker;
  }

  /** New rules: what did not change keeps what it knows. */
  change(policy: TenantPolicy, common: TokenBucket | null, now: number): void {
    const fresh = new TenantLane(policy, common, now);
    if (!alike(policy.breaker, this.#policy.breaker)) this.#breaker = fresh.#breaker;
    if (!alike(policy.rate, this.#policy.rate)) this.#bucket = fresh.#bucket;
    this.#common = common;
    this.#policy = policy;
  }

  /** Whether one more may begin now. */
  mayBegin(now: number): boolean {
    return this.inFlight < (this.#policy.concurrency ?? Number.POSITIVE_INFINITY) && this.#permitted(now) >= 1;
  }

  /**
   * How many more to claim for it.
   * @param waiting of it, claimed
   * @param prefetch how many to claim ahead for so many places
   */
  room(waiting: number, prefetch: (concurrency: number) => number, now: number): number {
    const permitted = this.#permitted(now) - waiting - this.reserved;
    const { concurrency } = this.#policy;
    if (concurrency === null || permitted <= 0) return Math.max(0, permitted);
    const ahead = prefetch(concurrency);
    const places = concurrency + ahead - this.inFlight - waiting - this.reserved;
    // As for a whole lane: not one by one.
    if (places < ahead / 2 && waiting > 0) return 0;
    return Math.max(0, Math.min(places, permitted));
  }

  /** An attempt begins. @returns the phase of its breaker */
  begins(now: number): number {
    this.inFlight += 1;
    this.#bucket?.take(now);
    this.#common?.take(now);
    return this.#breaker?.started(now) ?? 0;
  }

  /** Milliseconds until its limits let something through; 0 when nothing but its places limits it. */
  waitMs(now: number): number {
    return Math.max(this.#breaker?.waitMs(now) ?? 0, this.#bucket?.waitMs(now) ?? 0, this.#common?.waitMs(now) ?? 0);
  }

  /** Nothing is known of it that a new one would not know. */
  idle(now: number): boolean {
    return (
      this.inFlight + this.reserved === 0 && (this.#breaker?.idle(now) ?? true) && (this.#bucket?.full(now) ?? true)
    );
  }

  #permitted(now: number): number {
    return Math.min(
      this.#breaker?.permits(now) ?? Number.POSITIVE_INFINITY,
      this.#bucket?.available(now) ?? Number.POSITIVE_INFINITY,
      this.#common?.available(now) ?? Number.POSITIVE_INFINITY,
    );
  }
}

export const alike = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
