import { distance } from 'fastest-levenshtein';

/** Keys and indices that lead to a value inside a condition tree or a template, as in YAML. */
export type ValuePath = readonly (string | number)[];

/**
 * An expression, condition tree or template that can't be compiled. Thrown at load, never later: what compiles can at
 * worst fail on an event, as an ExpressionError.
 */
export class CompileError extends Error {
  override readonly name = 'CompileError';
  /** Index of the offending character in the source text, 0-based; 0 when the whole value is meant. */
  readonly offset: number;
  /** "did you mean …?", or what to do. */
  readonly hint: string | null;
  /** Where in the tree or template; empty for a lone string. `offset` then counts inside the string found there. */
  readonly path: ValuePath;

  constructor(
    message: string,
    details: {
      readonly offset?: number;
      readonly hint?: string | null;
      readonly path?: ValuePath;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.offset = details.offset ?? 0;
    this.hint = details.hint ?? null;
    this.path = details.path ?? [];
  }

  /** The same error seen from an enclosing value. */
  within(path: ValuePath, shift = 0): CompileError {
    const { offset, hint } = this;
    return new CompileError(this.message, { offset: offset + shift, hint, path: [...path, ...this.path], cause: this });
  }
}

/** "did you mean status?" when a known name is close enough to be what was meant, else null. */
export function didYouMean(written: string, known: Iterable<string>): string | null {
  const lower = written.toLowerCase();
  const tolerance = Math.max(1, Math.floor(written.length / 3));
  let best: string | null = null;
  let bestDistance = tolerance + 1;
  for (const name of known) {
    // Swapped letters, as in nwe, are two edits but one slip.
    const swapped = letters(lower) === letters(name.toLowerCase());
    const edits = swapped ? 1 : distance(lower, name.toLowerCase());
    if (edits < bestDistance) [best, bestDistance] = [name, edits];
  }
  return best === null ? null : `did you mean ${best}?`;
}

function letters(text: string): string {
  return [...text].sort().join('');
}
