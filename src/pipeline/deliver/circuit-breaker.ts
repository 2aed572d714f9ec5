import type { CircuitBreakerPolicy } from '../../domain/rules.ts';

export type BreakerState = 'closed' | 'open' | 'half-open';

/**
 * Stops trying a destination that mostly fails: closed → open when the failure rate of a sliding window passes the
 * policy's, half-open after `openForMs` with one probe in flight, closed again when the probe succeeds. While it is
 * open nothing is claimed, so waiting costs neither attempts nor memory.
 *
 * Each change of state begins a new phase, and an outcome counts only in the phase in which its attempt began: an old
 * attempt that times out while the breaker is half-open is not the probe.
 *
 * The window is kept as ten slots of counts rather than as a list of outcomes: constant memory at any rate.
 */
export class CircuitBreaker {
  readonly #policy: CircuitBreakerPolicy;
  readonly #slots: { since: number; failed: number; total: number }[] = [];
  #state: BreakerState = 'closed';
  #phase = 0;
  #openedAt = 0;
  #probing = false;

  /** @param policy and every `now` below: milliseconds of one monotonic clock */
  constructor(policy: CircuitBreakerPolicy) {
    this.#policy = policy;
  }

  state(now: number): BreakerState {
    if (this.#state === 'open' && now - this.#openedAt >= this.#policy.openForMs) this.#enter('half-open');
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

  /** An attempt begins. @returns its phase, to be handed in with its outcome */
  started(now: number): number {
    if (this.state(now) === 'half-open') this.#probing = true;
    return this.#phase;
  }

  /** @param failed null: the receiver was not asked after all, which says nothing about it */
  finished(failed: boolean | null, phase: number, now: number): void {
    if (phase !== this.#phase || this.#state === 'open') return;
    if (this.#state === 'half-open') return this.#settleProbe(failed, now);
    if (failed === null) return;
    const counts = this.#count(failed, now);
    if (counts.total >= this.#policy.minimum && counts.failed / counts.total >= this.#policy.failureRate)
      this.#open(now);
  }

  #settleProbe(failed: boolean | null, now: number): void {
    this.#probing = false;
    if (failed === true) this.#open(now);
    else if (failed === false) this.#enter('closed');
  }

  #open(now: number): void {
    this.#openedAt = now;
    this.#enter('open');
  }

  #enter(state: BreakerState): void {
    this.#state = state;
    this.#phase += 1;
    this.#probing = false;
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
    const counts = { failed: 0, total: 0 };
    for (const one of this.#slots) {
      counts.failed += one.failed;
      counts.total += one.total;
    }
    return counts;
  }
}
