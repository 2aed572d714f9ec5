import type { CircuitBreakerPolicy } from '../../domain/rules.ts';

export type BreakerState = 'closed' | 'open' | 'half-open';

/**
 * Stops trying a destination that mostly fails: closed → open when the failure rate of a sliding window passes the
 * policy's, half-open after `openForMs` with one probe in flight, closed again when the probe succeeds. While it is
 * open nothing is claimed, so waiting costs neither attempts nor memory.
 *
 * The window is kept as ten slots of counts rather than as a list of outcomes: constant memory at any rate.
 */
export class CircuitBreaker {
  readonly #policy: CircuitBreakerPolicy;
  readonly #slots: { since: number; failed: number; total: number }[] = [];
  #state: BreakerState = 'closed';
  #openedAt = 0;
  #probing = false;

  constructor(policy: CircuitBreakerPolicy) {
    this.#policy = policy;
  }

  state(now: number): BreakerState {
    if (this.#state === 'open' && now - this.#openedAt >= this.#policy.openForMs) {
      this.#state = 'half-open';
      this.#probing = false;
    }
    return this.#state;
  }

  /** How many more attempts may start now; Infinity while closed. */
  permits(now: number): number {
    const state = this.state(now);
    if (state === 'closed') return Number.POSITIVE_INFINITY;
    return state === 'half-open' && !this.#probing ? 1 : 0;
  }

  /** Milliseconds until it is worth asking again; 0: now. */
  waitMs(now: number): number {
    return this.state(now) === 'open' ? this.#openedAt + this.#policy.openForMs - now : 0;
  }

  started(now: number): void {
    if (this.state(now) === 'half-open') this.#probing = true;
  }

  finished(failed: boolean, now: number): void {
    if (this.#state === 'half-open') return this.#settleProbe(failed, now);
    if (this.#state === 'open') return;
    const counts = this.#count(failed, now);
    if (counts.total >= this.#policy.minimum && counts.failed / counts.total >= this.#policy.failureRate)
      this.#open(now);
  }

  #settleProbe(failed: boolean, now: number): void {
    this.#probing = false;
    if (failed) return this.#open(now);
    this.#state = 'closed';
    this.#slots.length = 0;
  }

  #open(now: number): void {
    this.#state = 'open';
    this.#openedAt = now;
    this.#slots.length = 0;
  }

  #count(failed: boolean, now: number): { failed: number; total: number } {
    const slotMs = this.#policy.windowMs / 10;
    while (this.#slots[0] !== undefined && now - this.#slots[0].since >= this.#policy.windowMs) this.#slots.shift();
    let slot = this.#slots.at(-1);
    if (slot === undefined || now - slot.since >= slotMs) {
      slot = { since: now, failed: 0, total: 0 };
      this.#slots.push(slot);
    }
    slot.total += 1;
    if (failed) slot.failed += 1;
    return this.#slots.reduce((sum, s) => ({ failed: sum.failed + s.failed, total: sum.total + s.total }), {
      failed: 0,
      total: 0,
    });
  }
}
