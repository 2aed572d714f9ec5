import type { CircuitBreakerPolicy } from '../../domain/rules.ts';

export type BreakerState = 'closed' | 'open' | 'half-open';

/**
 * Stops trying a receiver that mostly fails: closed → open when the failure rate of a sliding window passes the policy's,
 * half-open when its time is over, with one probe in flight at a time, closed again when enough probes in a row succeed. A
 * probe that fails opens it for twice as long as before. While it is open nothing is claimed, so waiting costs neither
 * attempts nor memory.
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
  /** Of this opening, or the last one. */
  #openForMs: number;
  #probing = false;
  /** Probes in a row that succeeded. */
  #succeeded = 0;

  /** @param policy and every `now` below: milliseconds of one monotonic clock */
  constructor(policy: CircuitBreakerPolicy) {
    this.#policy = policy;
    this.#openForMs = policy.openForMs;
  }

  state(now: number): BreakerState {
    if (this.#state === 'open' && now - this.#openedAt >= this.#openForMs) this.#enter('half-open');
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
    return this.state(now) === 'open' ? this.#openedAt + this.#openForMs - now : 0;
  }

  /** Closed, and nothing that counts is known: a new one would be the same. */
  idle(now: number): boolean {
    this.#forget(now);
    return this.state(now) === 'closed' && this.#slots.length === 0;
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
    if (counts.total < this.#policy.minimum || counts.failed / counts.total < this.#policy.failureRate) return;
    this.#openForMs = this.#policy.openForMs;
    this.#open(now);
  }

  #settleProbe(failed: boolean | null, now: number): void {
    this.#probing = false;
    if (failed === null) return;
    this.#succeeded += 1;
    if (failed) {
      this.#openForMs = Math.min(this.#openForMs * 2, this.#policy.openForMaxMs);
      this.#open(now);
    } else if (this.#succeeded >= this.#policy.successes) this.#enter('closed');
  }

  #open(now: number): void {
    this.#openedAt = now;
    this.#enter('open');
  }

  #enter(state: BreakerState): void {
    this.#state = state;
    this.#phase += 1;
    this.#probing = false;
    this.#succeeded = 0;
    this.#slots.length = 0;
  }

  #count(failed: boolean, now: number): { failed: number; total: number } {
    this.#forget(now);
    let slot = this.#slots.at(-1);
    if (slot === undefined || now - slot.since >= this.#policy.windowMs / 10) {
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

  /** What left the window. */
  #forget(now: number): void {
    while (this.#slots[0] !== undefined && now - this.#slots[0].since >= this.#policy.windowMs) this.#slots.shift();
  }
}
