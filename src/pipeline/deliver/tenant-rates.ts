import type { TenantQuotas } from '../../domain/rules.ts';
import { alike } from './tenant-lane.ts';
import { TokenBucket } from './token-bucket.ts';

/** Between two looks for buckets that are full again, and as good as none. Milliseconds. */
const forgetEveryMs = 10_000;

/** How fast each tenant may go at all destinations of this process together. */
export class TenantRates {
  #quotas: TenantQuotas = { common: { maxPending: null, maxRate: null }, named: new Map() };
  readonly #buckets = new Map<string, TokenBucket>();
  #forgetAt = 0;

  load(quotas: TenantQuotas): void {
    const changed = !alike([...this.#quotas.named], [...quotas.named]) || !alike(this.#quotas.common, quotas.common);
    this.#quotas = quotas;
    if (changed) this.#buckets.clear();
  }

  get limited(): boolean {
    return this.#quotas.common.maxRate !== null || this.named.length > 0;
  }

  /** Tenants that have a rate of their own. */
  get named(): readonly string[] {
    return [...this.#quotas.named].flatMap(([tenant, { maxRate }]) => (maxRate === null ? [] : tenant));
  }

  /** What a tenant may begin at once of which nothing is known; tenants of their own rate aside. */
  get most(): number {
    const { maxRate } = this.#quotas.common;
    return maxRate === null ? Number.POSITIVE_INFINITY : TokenBucket.holds(maxRate);
  }

  bucket(tenant: string | null, now: number): TokenBucket | null {
    if (tenant === null) return null;
    const { maxRate } = this.#quotas.named.get(tenant) ?? this.#quotas.common;
    if (maxRate === null) return null;
    const known = this.#buckets.get(tenant);
    if (known !== undefined) return known;
    const bucket = new TokenBucket(maxRate, now);
    this.#buckets.set(tenant, bucket);
    return bucket;
  }

  /** Buckets that lanes hold stay what they are: only what nobody holds is dropped. @param held by a lane */
  forget(held: (tenant: string) => boolean, now: number): void {
    if (now < this.#forgetAt) return;
    this.#forgetAt = now + forgetEveryMs;
    for (const [tenant, bucket] of this.#buckets) if (bucket.full(now) && !held(tenant)) this.#buckets.delete(tenant);
  }
}
