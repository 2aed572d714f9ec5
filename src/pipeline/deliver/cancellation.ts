import type { Deadline } from '../../actions/deadline.ts';

/** Cuts off every attempt in flight at once. */
export class Cancellation {
  readonly #attempts = new Set<Deadline>();
  #cancelled = false;

  get cancelled(): boolean {
    return this.#cancelled;
  }

  add(attempt: Deadline): void {
    this.#attempts.add(attempt);
    if (this.#cancelled) attempt.pass();
  }

  delete(attempt: Deadline): void {
    this.#attempts.delete(attempt);
  }

  cancel(): void {
    this.#cancelled = true;
    for (const attempt of this.#attempts) attempt.pass();
  }
}
