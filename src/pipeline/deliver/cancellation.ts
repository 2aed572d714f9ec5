/** Cuts off every attempt in flight at once. A set of controllers, because thousands of listeners on one signal are slow. */
export class Cancellation {
  readonly #attempts = new Set<AbortController>();
  #cancelled = false;

  get cancelled(): boolean {
    return this.#cancelled;
  }

  add(attempt: AbortController): void {
    this.#attempts.add(attempt);
    if (this.#cancelled) attempt.abort();
  }

  delete(attempt: AbortController): void {
    this.#attempts.delete(attempt);
  }

  cancel(): void {
    this.#cancelled = true;
    for (const attempt of this.#attempts) attempt.abort();
  }
}
