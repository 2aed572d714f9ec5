import type { RateLimit } from '../../domain/rules.ts';

/** Looks are not exact: what came in so long before one is not lost. Milliseconds. */
const carryMs = 25;

/** A token bucket that holds one tenth of a second's worth (at least one), so that a rate is not a burst. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #capacity: number;
  #tokens: number;
  #filledAt: number;

  constructor(limit: RateLimit, now: number) {
    this.#perMs = limit.count / limit.perMs;
    this.#capacity = Math.max(this.#perMs * 100, 1 + Math.min(this.#perMs * carryMs, 0.99));
    this.#tokens = Math.floor(this.#capacity);
    this.#filledAt = now;
  }

  /** What a new one holds. */
  static holds(limit: RateLimit): number {
    return Math.max(1, Math.floor((limit.count / limit.perMs) * 100));
  }

  /** Whole tokens there are now. */
  available(now: number): number {
    this.#fill(now);
    return Math.floor(this.#tokens);
  }

  take(now: number): void {
    this.#fill(now);
    this.#tokens -= 1;
  }

  /** Milliseconds until the next whole token; 0 when there is one. */
  waitMs(now: number): number {
    this.#fill(now);
    return this.#tokens >= 1 ? 0 : Math.ceil((1 - this.#tokens) / this.#perMs);
  }

  /** As full as a new one. */
  full(now: number): boolean {
    this.#fill(now);
    return this.#tokens >= Math.floor(this.#capacity);
  }

  #fill(now: number): void {
    this.#tokens = Math.min(this.#capacity, this.#tokens + (now - this.#filledAt) * this.#perMs);
    this.#filledAt = now;
  }
}
