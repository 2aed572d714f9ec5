import type { ConfigProblem } from '../domain/errors.ts';
import { ConfigError } from '../domain/errors.ts';
import type { Position } from '../domain/rules.ts';

/**
 * Collects what is wrong, so that all of it is reported at once. A value that has a problem is *refused*: later checks
 * pass over it, which keeps one mistake from being told twice.
 */
export class Problems {
  readonly #file: string;
  readonly #found: ConfigProblem[] = [];
  readonly #refused = new Set<string>();

  constructor(file: string) {
    this.#file = file;
  }

  /** As messages name it. */
  get file(): string {
    return this.#file;
  }

  add(position: Position, message: string, hint: string | null = null): void {
    const { line, column } = position;
    this.#found.push({ file: this.#file, line, column, message, hint });
  }

  /** @param pointer JSON pointer of a value that later checks shall not look at */
  refuse(pointer: string): void {
    this.#refused.add(pointer);
  }

  refuses(pointer: string): boolean {
    return this.#refused.has(pointer);
  }

  /** @throws ConfigError with every problem, in the order of the file */
  throwIfAny(): void {
    if (this.#found.length === 0) return;
    // Aliases make two paths lead to one place, so the same sentence can come up twice.
    const distinct = new Map(this.#found.map((problem) => [JSON.stringify(problem), problem]));
    throw new ConfigError([...distinct.values()].sort((a, b) => a.line - b.line || a.column - b.column));
  }
}
