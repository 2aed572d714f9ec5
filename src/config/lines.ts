import type { Position } from '../domain/rules.ts';

/**
 * From offsets to lines and columns. In place of yaml's LineCounter, which misses lines when the syntax is broken, just when
 * positions matter.
 */
export class Lines {
  readonly #length: number;
  /** Offset of each line's first character. */
  readonly #starts: readonly number[];

  constructor(text: string) {
    this.#length = text.length;
    this.#starts = [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)];
  }

  at(offset: number): Position {
    const within = Math.min(Math.max(0, offset), this.#length);
    let [low, high] = [0, this.#starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] ?? 0) <= within) low = middle;
      else high = middle;
    }
    return Object.freeze({ line: low + 1, column: within - (this.#starts[low] ?? 0) + 1 });
  }
}
