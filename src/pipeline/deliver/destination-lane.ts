import type { DestinationClient } from '../../actions/contract.ts';
import type { Destination } from '../../domain/rules.ts';
import type { ClaimedDelivery } from '../../transport/contract.ts';
import { type BreakerState, CircuitBreaker } from './circuit-breaker.ts';
import { TokenBucket } from './token-bucket.ts';

/**
 * So much work is claimed ahead, measured by how fast this destination takes it: a fast one never waits for a claim's
 * round trip, and of a slow one nothing is hoarded that another instance could begin now. Milliseconds.
 */
const prefetchMs = 50;
const longestPrefetch = 500;
/** Weight of the newest attempt in the moving average of durations. */
const newest = 0.1;

/** One attempt's place, from `next` to `finished`. */
export interface Turn {
  readonly claimed: ClaimedDelivery;
  readonly startedAt: number;
  /** The breaker it began under, and that one's phase: new rules may have brought another. */
  readonly breaker: CircuitBreaker | null;
  readonly phase: number;
}

/** What this process has of one destination: its client, what is in flight, what is claimed and waits, and its limits. */
export class DestinationLane {
  #destination: Destination;
  #client: DestinationClient;
  readonly #waiting: ClaimedDelivery[] = [];
  #breaker: CircuitBreaker | null;
  #bucket: TokenBucket | null;
  #inFlight = 0;
  /** Places for claims that are on their way. */
  #reserved = 0;
  /** Moving average; null before the first attempt has ended. Milliseconds. */
  #attemptMs: number | null = null;
  #announced: BreakerState = 'closed';
  #heldUntil = Number.NEGATIVE_INFINITY;

  constructor(destination: Destination, client: DestinationClient, now: number) {
    this.#destination = destination;
    this.#client = client;
    this.#breaker = breakerOf(destination);
    this.#bucket = bucketOf(destination, now);
  }

  get destination(): Destination {
    return this.#destination;
  }

  get client(): DestinationClient {
    return this.#client;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** The first in its waiting line. */
  get head(): ClaimedDelivery | undefined {
    return this.#waiting[0];
  }

  /**
   * Takes up a changed destination. What is in flight ends on the former client and keeps its place, so that no reload
   * lets more through than `concurrency`; a breaker and a limit that did not change keep what they know.
   * @returns the former client, to be closed
   */
  change(destination: Destination, client: DestinationClient, now: number): DestinationClient {
    const [formerDestination, formerClient] = [this.#destination, this.#client];
    this.#destination = destination;
    this.#client = client;
    if (!alike(formerDestination.circuitBreaker, destination.circuitBreaker)) this.#breaker = breakerOf(destination);
    if (!alike(formerDestination.rateLimit, destination.rateLimit)) this.#bucket = bucketOf(destination, now);
    return formerClient;
  }

  /** Nothing begins before that, whatever else would permit it. @param until in the time of performance.now(); Infinity: until told otherwise */
  hold(until: number): void {
    this.#heldUntil = until;
  }

  isHeld(now: number): boolean {
    return now < this.#heldUntil;
  }

  state(now: number): 'enabled' | 'paused' | 'disabled' {
    if (!this.isHeld(now)) return 'enabled';
    return this.#heldUntil === Number.POSITIVE_INFINITY ? 'disabled' : 'paused';
  }

  breakerState(now: number): BreakerState {
    return this.#breaker?.state(now) ?? 'closed';
  }

  /** The breaker's state when it is another one than at the last call, else null. */
  breakerChange(now: number): BreakerState | null {
    const state = this.breakerState(now);
    if (state === this.#announced) return null;
    this.#announced = state;
    return state;
  }

  /** How many deliveries to claim for it now. */
  wanted(now: number): number {
    const { concurrency } = this.#destination;
    const prefetch = this.#prefetch(concurrency);
    const room = concurrency + prefetch - this.#inFlight - this.#waiting.length - this.#reserved;
    // Asking for one at a time is a round trip per event: wait until half of the prefetch is used up.
    if (room < prefetch / 2 && this.#waiting.length > 0) return 0;
    return Math.max(0, Math.min(room, this.#permitted(now) - this.#waiting.length - this.#reserved));
  }

  /** @param places to keep free, or when negative no longer */
  reserve(places: number): void {
    this.#reserved += places;
  }

  /** Milliseconds until its limits let something through; 0 when nothing but its places limits it. */
  waitMs(now: number): number {
    return Math.max(this.#heldUntil - now, this.#breaker?.waitMs(now) ?? 0, this.#bucket?.waitMs(now) ?? 0);
  }

  add(claimed: ClaimedDelivery): void {
    this.#waiting.push(claimed);
  }

  /** The next delivery to attempt, or null when it has no free place, no permission or nothing to do. */
  next(now: number): Turn | null {
    if (this.#waiting.length === 0 || this.#inFlight >= this.#destination.concurrency) return null;
    if (this.#permitted(now) < 1) return null;
    const claimed = this.#waiting.shift();
    if (claimed === undefined) return null;
    this.#inFlight += 1;
    this.#bucket?.take(now);
    return { claimed, startedAt: now, breaker: this.#breaker, phase: this.#breaker?.started(now) ?? 0 };
  }

  /** @param failed whether the receiver failed; null: it was not asked */
  finished(turn: Turn, failed: boolean | null, now: number): void {
    this.#inFlight -= 1;
    turn.breaker?.finished(failed, turn.phase, now);
    if (failed === null) return;
    const tookMs = now - turn.startedAt;
    this.#attemptMs = this.#attemptMs === null ? tookMs : this.#attemptMs + (tookMs - this.#attemptMs) * newest;
  }

  /** Empties the waiting line, e.g. to hand the claims back. */
  drain(): ClaimedDelivery[] {
    return this.#waiting.splice(0);
  }

  #prefetch(concurrency: number): number {
    if (this.#attemptMs === null) return 0;
    return Math.min(longestPrefetch, Math.floor((concurrency * prefetchMs) / Math.max(this.#attemptMs, 1)));
  }

  #permitted(now: number): number {
    if (this.isHeld(now)) return 0;
    const probes = this.#breaker?.permits(now) ?? Number.POSITIVE_INFINITY;
    return Math.min(probes, this.#bucket?.available(now) ?? Number.POSITIVE_INFINITY);
  }
}

const breakerOf = ({ circuitBreaker }: Destination) =>
  circuitBreaker === null ? null : new CircuitBreaker(circuitBreaker);
const bucketOf = ({ rateLimit }: Destination, now: number) =>
  rateLimit === null ? null : new TokenBucket(rateLimit, now);
const alike = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
