import type { ClaimedDelivery } from '../../transport/contract.ts';

type Tenant = string | null;

/** What is claimed and waits in a lane: first in, first out for each tenant, and the tenants take turns. */
export class WaitingLine {
  /** The next turn is the first one's. */
  readonly #lines = new Map<Tenant, ClaimedDelivery[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get tenants(): Iterable<Tenant> {
    return this.#lines.keys();
  }

  of(tenant: Tenant): number {
    return this.#lines.get(tenant)?.length ?? 0;
  }

  add(claimed: ClaimedDelivery): void {
    const { tenant } = claimed.delivery;
    const line = this.#lines.get(tenant);
    if (line === undefined) this.#lines.set(tenant, [claimed]);
    else line.push(claimed);
    this.#size += 1;
  }

  /** The first of the first tenant that may. */
  head(may: (tenant: Tenant) => boolean): ClaimedDelivery | undefined {
    for (const [tenant, line] of this.#lines) if (may(tenant)) return line[0];
    return undefined;
  }

  /** Takes the head of its tenant, whose next turn comes after everybody else's. */
  take({ delivery: { tenant } }: ClaimedDelivery): void {
    const line = this.#lines.get(tenant);
    if (line?.shift() === undefined) return;
    this.#size -= 1;
    if (line.length > 0 && this.#lines.size === 1) return;
    this.#lines.delete(tenant);
    if (line.length > 0) this.#lines.set(tenant, line);
  }

  /** Takes further ones of a tenant that fit, the first first. */
  takeMore(tenant: Tenant, most: number, fits: (one: ClaimedDelivery) => boolean): ClaimedDelivery[] {
    const taken: ClaimedDelivery[] = [];
    const left = (this.#lines.get(tenant) ?? []).filter((one) => {
      if (taken.length >= most || !fits(one)) return true;
      taken.push(one);
      return false;
    });
    if (taken.length === 0) return taken;
    this.#size -= taken.length;
    // In place, so that its turn stays the same.
    if (left.length > 0) this.#lines.set(tenant, left);
    else this.#lines.delete(tenant);
    return taken;
  }

  /** Before everything else of their tenants, in this order. */
  putBack(claims: readonly ClaimedDelivery[]): void {
    for (const claimed of [...claims].reverse()) {
      const { tenant } = claimed.delivery;
      const line = this.#lines.get(tenant);
      if (line === undefined) this.#lines.set(tenant, [claimed]);
      else line.unshift(claimed);
    }
    this.#size += claims.length;
  }

  /** Leaves only so many of a tenant. @returns the others */
  cut(tenant: Tenant, keep: number): ClaimedDelivery[] {
    const line = this.#lines.get(tenant) ?? [];
    const others = line.splice(keep);
    this.#size -= others.length;
    if (line.length === 0) this.#lines.delete(tenant);
    return others;
  }

  /** Leaves only so many. @returns the others */
  trim(keep: number): ClaimedDelivery[] {
    const others: ClaimedDelivery[] = [];
    for (const tenant of [...this.#lines.keys()].reverse()) {
      if (this.#size <= keep) break;
      others.push(...this.cut(tenant, Math.max(0, this.of(tenant) - (this.#size - keep))));
    }
    return others;
  }
}
