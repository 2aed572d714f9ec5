/**
 * A level-triggered wake-up: a `ring` that comes while nobody waits is kept for the next `wait`, and many rings are one.
 * Losing none of them costs nothing, but nothing depends on it either: every wait ends by itself.
 */
export class Wake {
  #rung = false;
  #release: (() => void) | null = null;

  ring(): void {
    this.#rung = true;
    this.#release?.();
  }

  /** Resolves when rung, or after `ms`. @returns whether it was rung */
  async wait(ms: number): Promise<boolean> {
    if (!this.#rung && ms > 0) {
      await new Promise<void>((resolve) => {
        // Beyond 2^31 ms a timer fires at once.
        const timer = setTimeout(resolve, Math.min(ms, 0x7fff_ffff));
        this.#release = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#release = null;
    }
    const rung = this.#rung;
    this.#rung = false;
    return rung;
  }
}
