import { isReplay } from '../../domain/delivery.ts';
import type { Gathering } from '../../domain/gathering.ts';
import type { ClaimedDelivery, GatherWish } from '../../transport/contract.ts';
import type { WaitingLine } from './waiting-line.ts';

/** Claimed at once for several requests, about: the queue keeps the rest. */
const claimedAtOnce = 500;
/** A claim that came too early is not repeated before this share of the wait; new deliveries ring all the time. Milliseconds. */
const lookShare = 1 / 20;
const [shortestLookMs, longestLookMs] = [10, 1_000];

/**
 * How a lane takes several deliveries for one request. Nothing waits here for others: that is in the queue, and the claim
 * knows when it is time. What is claimed goes at once, as far as there are places.
 *
 * A turn takes what may belong together: of one tenant, observer and action, and nothing that failed in another request. Whom it
 * is for shows only in the rendered request, so a first turn takes all of them, keeps what goes with the first one,
 * and puts the others back with what they were found to be.
 */
export class Gatherer {
  readonly #gathering: Gathering;
  #lookAt = Number.NEGATIVE_INFINITY;
  /** Somebody wanted to look before that. */
  #tooEarly = false;
  /** By claim, of those put back. */
  readonly #keys = new WeakMap<ClaimedDelivery, string>();

  constructor(gathering: Gathering) {
    this.#gathering = gathering;
  }

  get gathering(): Gathering {
    return this.#gathering;
  }

  get wish(): GatherWish {
    const { waitMs, enough } = this.#gathering;
    return { waitMs, enough, most: this.worth };
  }

  /** Deliveries that a request stands for, in a claim: of a digest all that there may be. */
  get worth(): number {
    return Math.max(this.#gathering.enough, this.#gathering.most);
  }

  /** How many deliveries to claim for so many requests. */
  slots(requests: number, now: number): number {
    if (requests <= 0 || now < this.#lookAt) return 0;
    return Math.max(this.worth, Math.min(claimedAtOnce, requests * this.worth));
  }

  /** Before each look at the queue. */
  asks(now: number): void {
    this.#tooEarly = now < this.#lookAt;
  }

  looked(got: number, now: number): void {
    const restMs = Math.min(longestLookMs, Math.max(shortestLookMs, this.#gathering.waitMs * lookShare));
    this.#lookAt = got === 0 ? now + restMs : Number.NEGATIVE_INFINITY;
  }

  /** Milliseconds until a look that was wanted is made; 0: none is. */
  waitMs(now: number): number {
    return this.#tooEarly ? Math.max(0, this.#lookAt - now) : 0;
  }

  /** Takes out of the line what may go in one request with the head. */
  takeWith(head: ClaimedDelivery, line: WaitingLine): ClaimedDelivery[] {
    const key = this.#keys.get(head);
    // Large ones are loaded by their turn: no more than one at a time.
    if (key === undefined && head.event === null) return [];
    const most = key === undefined ? Number.POSITIVE_INFINITY : this.#gathering.most;
    const fits = (one: ClaimedDelivery) =>
      this.#keys.get(one) === key && (key !== undefined || one.event !== null) && alike(one, head);
    return line.takeMore(head.delivery.tenant, most - 1, fits);
  }

  /**
   * Of a claim that got all it asked for, what failed together and is perhaps not all there: it comes whole with the next one.
   * @param claimed of one destination
   */
  cutOff(claimed: readonly ClaimedDelivery[], slots: number): ClaimedDelivery[] {
    const ofTenants = new Map<string | null, ClaimedDelivery[]>();
    for (const one of claimed) {
      const { tenant } = one.delivery;
      const others = ofTenants.get(tenant);
      if (others === undefined) ofTenants.set(tenant, [one]);
      else others.push(one);
    }
    return [...ofTenants.values()].flatMap((ones) => {
      if (claimed.length < slots && ones.length < this.worth) return [];
      const last = ones.reduce((latest, { delivery }) => max(latest, delivery.together ?? ''), '');
      const cut = ones.filter(({ delivery }) => delivery.together === last);
      return cut.length < Math.min(ones.length, this.#gathering.most) ? cut : [];
    });
  }

  /** @param found what their requests were found to have in common with others */
  putBack(found: readonly (readonly [ClaimedDelivery, key: string])[], line: WaitingLine): void {
    for (const [claimed, key] of found) this.#keys.set(claimed, key);
    line.putBack(found.map(([claimed]) => claimed));
  }
}

const max = (one: string, other: string) => (one > other ? one : other);

function alike({ delivery: one }: ClaimedDelivery, { delivery: other }: ClaimedDelivery): boolean {
  return (
    one.observer === other.observer &&
    one.action === other.action &&
    // A request says whether it is a replay.
    isReplay(one) === isReplay(other) &&
    (one.together ?? null) === (other.together ?? null)
  );
}
