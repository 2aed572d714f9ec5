import type { ClaimWish, TenantsSeen } from '../../transport/contract.ts';

/** For so long after the last one, a claim expects that some have a tenant: that takes a dearer statement. Milliseconds. */
const tenantsLastMs = 60_000;

/** What a process knows of the queue of one destination: what its last look found, and what came since. */
export class LastLook {
  /** The look at which the queue had no more for it than it got, those held back aside. */
  #emptyAt = -1;
  #heldBack: ReadonlySet<string | null> = new Set();
  #tenantsUntil = Number.NEGATIVE_INFINITY;
  #lastTurn: string | null = null;

  /** Tenants of which the queue has more that their own limits keep there. */
  get heldBack(): ReadonlySet<string | null> {
    return this.#heldBack;
  }

  /** Who had the last turn when tenants shared a claim. */
  get lastTurn(): string | null {
    return this.#lastTurn;
  }

  /** @param got how many of those it wished for */
  found(look: number, wish: ClaimWish, got: number, seen: TenantsSeen | undefined, now: number): void {
    if (seen?.any) this.sawTenant(now);
    if (seen !== undefined && wish.turns !== null) this.#lastTurn = seen.last;
    this.#heldBack = new Set(seen?.heldBack);
    const more = seen === undefined ? got >= wish.slots : seen.more;
    if (!more) this.#emptyAt = look;
  }

  sawTenant(now: number): void {
    this.#tenantsUntil = now + tenantsLastMs;
  }

  mayHaveTenants(now: number): boolean {
    return now < this.#tenantsUntil;
  }

  /** The queue has nothing since that look, those aside whom their own limits keep there. */
  isEmpty(look: number): boolean {
    return this.#emptyAt === look;
  }

  /** The queue may have something of this tenant. */
  mayHaveOf(tenant: string | null, look: number): boolean {
    return !this.isEmpty(look) || this.#heldBack.has(tenant);
  }
}
