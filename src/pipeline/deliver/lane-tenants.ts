import type { Destination } from '../../domain/rules.ts';
import { TenantLane, tenantPolicy } from './tenant-lane.ts';
import type { TenantRates } from './tenant-rates.ts';
import { TokenBucket } from './token-bucket.ts';

type Tenant = string | null;

/** Between two looks for tenants of which nothing is known any more. Milliseconds. */
const forgetEveryMs = 10_000;

/** The tenants of a lane of which something is known; without limits for tenants none ever is. */
export class LaneTenants {
  readonly #rates: TenantRates;
  readonly #lanes = new Map<Tenant, TenantLane>();
  #destination: Destination;
  #limited: boolean;
  #forgetAt = 0;

  constructor(destination: Destination, rates: TenantRates, now: number) {
    this.#rates = rates;
    this.#destination = destination;
    this.#limited = false;
    this.load(destination, now);
  }

  /** What is in flight stays counted, also under limits that were not there before. */
  load(destination: Destination, now: number): void {
    this.#destination = destination;
    const { circuitBreaker, tenantRateLimit, tenantConcurrency } = destination;
    this.#limited =
      circuitBreaker?.per === 'tenant' || tenantRateLimit !== null || tenantConcurrency !== null || this.#rates.limited;
    if (!this.#limited) return this.#lanes.clear();
    for (const [tenant, lane] of this.#lanes) {
      lane.change(tenantPolicy(destination, tenant), this.#rates.bucket(tenant, now), now);
    }
    // Tenants with a rate of their own: `most` below is about the others.
    for (const tenant of this.#rates.named) this.of(tenant, now);
  }

  [Symbol.iterator](): IterableIterator<[Tenant, TenantLane]> {
    return this.#lanes.entries();
  }

  has(tenant: Tenant): boolean {
    return this.#lanes.has(tenant);
  }

  /** null: nothing limits single tenants here. */
  of(tenant: Tenant, now: number): TenantLane | null {
    if (!this.#limited) return null;
    const known = this.#lanes.get(tenant);
    if (known !== undefined) return known;
    const lane = new TenantLane(tenantPolicy(this.#destination, tenant), this.#rates.bucket(tenant, now), now);
    this.#lanes.set(tenant, lane);
    return lane;
  }

  mayBegin(tenant: Tenant, now: number): boolean {
    return !this.#limited || (this.#lanes.get(tenant)?.mayBegin(now) ?? true);
  }

  /** Milliseconds until the limits of one of these let something through; 0: they do. Infinity when only places are missing. */
  waitMs(tenants: Iterable<Tenant>, now: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (const tenant of this.#limited ? tenants : []) {
      const lane = this.of(tenant, now);
      const waitMs = lane?.waitMs(now) ?? 0;
      if (waitMs > 0 || lane?.mayBegin(now)) least = Math.min(least, waitMs);
    }
    return least;
  }

  /** How many of a tenant to claim of which nothing is known. */
  get most(): number {
    const { tenantRateLimit, tenantConcurrency } = this.#destination;
    return Math.min(
      tenantConcurrency ?? Number.POSITIVE_INFINITY,
      tenantRateLimit === null ? Number.POSITIVE_INFINITY : TokenBucket.holds(tenantRateLimit),
      this.#rates.most,
    );
  }

  /** Forgets those of which a new one would know as much: their number is not ours to bound. */
  forget(now: number): void {
    if (now < this.#forgetAt || this.#lanes.size === 0) return;
    this.#forgetAt = now + forgetEveryMs;
    const named = new Set<Tenant>(this.#rates.named);
    for (const [tenant, lane] of this.#lanes) if (lane.idle(now) && !named.has(tenant)) this.#lanes.delete(tenant);
  }
}
