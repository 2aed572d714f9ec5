import type { TenantQuotas } from '../../domain/rules.ts';
import type { Telemetry } from '../../domain/telemetry.ts';
import type { NewDelivery } from '../../transport/contract.ts';

export interface PendingQuotasOptions {
  readonly quotas: () => TenantQuotas;
  /** How many deliveries of each tenant wait, about; tenants with few may be missing. */
  readonly readPending: () => Promise<ReadonlyMap<string, number>>;
  /** Whether what this one belongs to must keep its order, whatever dies. */
  readonly mustQueue: (delivery: NewDelivery) => boolean;
  readonly telemetry: Telemetry;
}

/** Between two counts while a tenant is over its quota. Milliseconds. */
const countEveryMs = 1_000;
/** Between two reports of one tenant. Milliseconds. */
const reportEveryMs = 10_000;

/**
 * Which of new deliveries their tenants' `max_pending` leaves no room for.
 *
 * Whoever routes knows what it queued since it last counted, so a tenant can't be over its quota before that and the last
 * count together are: the queue is counted when the first event of a tenant comes, and then only when somebody seems to
 * be over, once a second at most. A counter per tenant in a table would be written with each settlement.
 */
export class PendingQuotas {
  readonly #options: PendingQuotasOptions;
  /** As of the last count, and what was queued since. */
  #pending = new Map<string, number>();
  #countedAt = Number.NEGATIVE_INFINITY;
  readonly #refused = new Map<string, { count: number; reportAt: number }>();

  constructor(options: PendingQuotasOptions) {
    this.#options = options;
  }

  /** Nothing is known: somebody else may have routed meanwhile. */
  forget(): void {
    this.#countedAt = Number.NEGATIVE_INFINITY;
  }

  get bounded(): boolean {
    const { common, named } = this.#options.quotas();
    return common.maxPending !== null || named.size > 0;
  }

  /** @throws when the transport is away */
  async share(deliveries: readonly NewDelivery[], now: number): Promise<Shared> {
    const wanted = this.#limited(deliveries);
    if (wanted.size === 0) return { within: deliveries, over: [] };
    const isOver = [...wanted].some(([tenant, count]) => this.#pendingOf(tenant) + count > this.#most(tenant));
    const unknown = this.#countedAt === Number.NEGATIVE_INFINITY;
    if (unknown || (isOver && now - this.#countedAt >= countEveryMs)) await this.#count(now);
    const within: NewDelivery[] = [];
    const over: NewDelivery[] = [];
    for (const delivery of deliveries) (this.#admits(delivery) ? within : over).push(delivery);
    this.#report(over, now);
    return { within, over };
  }

  /** Deliveries of each tenant that has a quota. */
  #limited(deliveries: readonly NewDelivery[]): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { event } of deliveries) {
      const { tenant } = event;
      if (tenant !== null && Number.isFinite(this.#most(tenant))) counts.set(tenant, (counts.get(tenant) ?? 0) + 1);
    }
    return counts;
  }

  #admits(delivery: NewDelivery): boolean {
    const { tenant } = delivery.event;
    if (tenant === null) return true;
    const pending = this.#pendingOf(tenant);
    if (pending >= this.#most(tenant) && !this.#options.mustQueue(delivery)) return false;
    this.#pending.set(tenant, pending + 1);
    return true;
  }

  async #count(now: number): Promise<void> {
    this.#pending = new Map(await this.#options.readPending());
    this.#countedAt = now;
  }

  #pendingOf(tenant: string): number {
    return this.#pending.get(tenant) ?? 0;
  }

  #most(tenant: string): number {
    const { common, named } = this.#options.quotas();
    return (named.get(tenant) ?? common).maxPending ?? Number.POSITIVE_INFINITY;
  }

  /** At once when it begins, then now and then with how many there were. */
  #report(over: readonly NewDelivery[], now: number): void {
    for (const { event } of over) {
      const tenant = event.tenant ?? '';
      const refused = this.#refused.get(tenant) ?? { count: 0, reportAt: now };
      refused.count += 1;
      this.#refused.set(tenant, refused);
    }
    for (const [tenant, refused] of this.#refused) {
      if (refused.reportAt > now) continue;
      if (refused.count === 0) {
        this.#refused.delete(tenant);
        continue;
      }
      this.#options.telemetry({ type: 'quota.exceeded', tenant, deliveries: refused.count, most: this.#most(tenant) });
      this.#refused.set(tenant, { count: 0, reportAt: now + reportEveryMs });
    }
  }
}

export interface Shared {
  readonly within: readonly NewDelivery[];
  readonly over: readonly NewDelivery[];
}
