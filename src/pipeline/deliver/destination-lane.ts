import type { DestinationClient } from '../../actions/contract.ts';
import type { Destination } from '../../domain/rules.ts';
import type { ClaimedDelivery } from '../../transport/contract.ts';
import { type BreakerState, CircuitBreaker } from './circuit-breaker.ts';
import { TokenBucket } from './token-bucket.ts';

/** How many claims wait here for a free place, per place; a claim that waits elsewhere costs a round trip each time. */
const prefetchPerPlace = 1;
const longestPrefetch = 500;

/** What this process has of one destination: its client, what is in flight, what is claimed and waits, and its limits. */
export class DestinationLane {
  readonly destination: Destination;
  readonly client: DestinationClient;
  readonly #waiting: ClaimedDelivery[] = [];
  readonly #breaker: CircuitBreaker | null;
  readonly #bucket: TokenBucket | null;
  #inFlight = 0;

  constructor(destination: Destination, client: DestinationClient, now: number) {
    this.destination = destination;
    this.client = client;
    this.#breaker = destination.circuitBreaker === null ? null : new CircuitBreaker(destination.circuitBreaker);
    this.#bucket = destination.rateLimit === null ? null : new TokenBucket(destination.rateLimit, now);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  breakerState(now: number): BreakerState {
    return this.#breaker?.state(now) ?? 'closed';
  }

  /** How many deliveries to claim for it now. */
  wanted(now: number): number {
    const { concurrency } = this.destination;
    const prefetch = Math.min(concurrency * prefetchPerPlace, longestPrefetch);
    const room = concurrency + prefetch - this.#inFlight - this.#waiting.length;
    // Asking for one at a time is a round trip per event: wait until half of the prefetch is used up.
    if (room < prefetch / 2 && this.#waiting.length > 0) return 0;
    return Math.max(0, Math.min(room, this.#permitted(now) - this.#waiting.length));
  }

  /** Milliseconds until its limits let something through; 0 when nothing but its places limits it. */
  waitMs(now: number): number {
    return Math.max(this.#breaker?.waitMs(now) ?? 0, this.#bucket?.waitMs(now) ?? 0);
  }

  add(claimed: ClaimedDelivery): void {
    this.#waiting.push(claimed);
  }

  /** The next delivery to attempt, or null when it has no free place, no permission or nothing to do. */
  next(now: number): ClaimedDelivery | null {
    if (this.#inFlight >= this.destination.concurrency || this.#permitted(now) < 1) return null;
    const claimed = this.#waiting.shift();
    if (claimed === undefined) return null;
    this.#inFlight += 1;
    this.#bucket?.take(now);
    this.#breaker?.started(now);
    return claimed;
  }

  finished(failed: boolean | null, now: number): void {
    this.#inFlight -= 1;
    if (failed !== null) this.#breaker?.finished(failed, now);
  }

  /** Empties the waiting line, e.g. to hand the claims back. */
  drain(): ClaimedDelivery[] {
    return this.#waiting.splice(0);
  }

  #permitted(now: number): number {
    const probes = this.#breaker?.permits(now) ?? Number.POSITIVE_INFINITY;
    return Math.min(probes, this.#bucket?.available(now) ?? Number.POSITIVE_INFINITY);
  }
}
