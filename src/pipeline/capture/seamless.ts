/**
 * Which channels this process could go on with if the one that records them died now: those where everything notified before
 * its own first mark is recorded. Until then, somebody else's death would lose what only he heard.
 */
export class Seamless {
  #wanted: readonly string[] = [];
  readonly #reached = new Set<string>();
  readonly #waiting = new Set<() => void>();

  want(channels: readonly string[]): void {
    this.#wanted = channels;
    for (const channel of this.#reached) if (!channels.includes(channel)) this.#reached.delete(channel);
    this.#tell();
  }

  /** @param since the mark from which on the channel is heard; null: it is not */
  recorded(channel: string, mark: number, since: number | null): void {
    if (since === null || mark < since) return;
    this.#reached.add(channel);
    this.#tell();
  }

  lose(): void {
    this.#reached.clear();
  }

  get missing(): readonly string[] {
    return this.#wanted.filter((channel) => !this.#reached.has(channel));
  }

  /** Resolves when none is missing, or after `ms`. */
  complete(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#waiting.add(done);
      this.#tell();
    });
  }

  #tell(): void {
    if (this.missing.length === 0) for (const done of [...this.#waiting]) done();
  }
}
