import type { Position } from '../domain/rules.ts';
import { formatSize, parseSize, sizeHint } from '../domain/size.ts';
import { childOf, type WrittenDocument } from './document.ts';
import { type Path, pointerOf } from './pointer.ts';
import type { Problems } from './problems.ts';
import { durationHint, formatDuration, parseDuration, parseRate, rateHint } from './units.ts';
import { type Resolved, type Substitution, shortened } from './variables.ts';

/** What all parts of one configuration share while it is read. */
export interface Draft {
  readonly document: WrittenDocument;
  readonly resolved: Resolved;
  readonly problems: Problems;
  /** Where relative paths start. */
  readonly directory: string;
  /** @throws Error when there is no such file; a relative path starts at `directory` */
  readonly readFile: (path: string) => string;
  /** Values to hide in logs; grows while the file is read. */
  readonly secrets: Set<string>;
}

/**
 * One value of the file, with its place. The readers below return undefined for what is absent *and* for what was already
 * refused, so the checks that use them go on and find the other mistakes; a configuration with a mistake is thrown away.
 */
export class Field {
  readonly draft: Draft;
  readonly path: Path;
  readonly value: unknown;
  /** What messages call it: its key, or the environment variable that took its place. */
  readonly label: string;
  readonly #fromEnvironment: boolean;

  constructor(draft: Draft, path: Path, value: unknown, label?: string) {
    this.draft = draft;
    this.path = path;
    this.value = draft.problems.refuses(pointerOf(path)) && label === undefined ? undefined : value;
    // An item goes by the name of its list.
    this.label = label ?? String(path.findLast((step) => typeof step === 'string') ?? 'the file');
    this.#fromEnvironment = label !== undefined;
  }

  static root(draft: Draft): Field {
    return new Field(draft, [], draft.resolved.value);
  }

  get(key: string | number): Field {
    return new Field(this.draft, [...this.path, key], childOf(this.value, key));
  }

  /** The same setting, given by an environment variable. */
  replacedBy(variable: string, value: string): Field {
    return new Field(this.draft, this.path, value, variable);
  }

  get present(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  get position(): Position {
    return this.draft.document.position(this.path);
  }

  get keyPosition(): Position {
    return this.draft.document.keyPosition(this.path);
  }

  /** As in the file: variables by their names. Never the value of a variable. */
  get written(): unknown {
    return this.draft.document.at(this.path);
  }

  get substitutions(): readonly Substitution[] {
    return this.draft.resolved.substitutions.get(pointerOf(this.path)) ?? [];
  }

  /** The written text for messages, in backticks. */
  get shown(): string {
    return `\`${shortened(String(this.written))}\``;
  }

  /** `, not …` for messages; nothing when an environment variable holds the value. */
  get #butIs(): string {
    return this.#fromEnvironment ? '' : `, not ${this.shown}`;
  }

  /** Keys and values of a mapping; empty for anything else. */
  entries(): [string, Field][] {
    if (this.value === null || typeof this.value !== 'object' || Array.isArray(this.value)) return [];
    return Object.keys(this.value).map((key) => [key, this.get(key)]);
  }

  /** Items of a list; a lone value is a list of one. */
  items(): Field[] {
    if (Array.isArray(this.value)) return this.value.map((_, i) => this.get(i));
    return this.present ? [this] : [];
  }

  text(): string | undefined {
    return typeof this.value === 'string' && this.value !== '' ? this.value : undefined;
  }

  flag(): boolean | undefined {
    return typeof this.value === 'boolean' ? this.value : undefined;
  }

  number(): number | undefined {
    return typeof this.value === 'number' ? this.value : undefined;
  }

  /** Texts of a list, without those refused. */
  texts(): string[] | undefined {
    if (!this.present) return undefined;
    return this.items().flatMap((item) => item.text() ?? []);
  }

  /** Milliseconds. @param min and @param max inclusive bounds, milliseconds */
  duration(min: number, max: number): number | undefined {
    if (!this.present) return undefined;
    const { value } = this;
    const ms = typeof value === 'string' ? parseDuration(value) : null;
    if (ms === null) {
      const bare = typeof value === 'number' || (typeof value === 'string' && /^\d+(\.\d+)?$/.test(value));
      this.refuse(bare ? `\`${this.label}\` has no unit` : `\`${this.label}\` is not a duration`, durationHint);
      return undefined;
    }
    if (ms >= min && ms <= max) return ms;
    this.refuse(`\`${this.label}\` must be from ${formatDuration(min)} to ${formatDuration(max)}${this.#butIs}`);
    return undefined;
  }

  /** Bytes. @param min and @param max inclusive bounds */
  size(min: number, max: number): number | undefined {
    if (!this.present) return undefined;
    const bytes = typeof this.value === 'string' ? parseSize(this.value) : null;
    if (bytes === null) {
      this.refuse(`\`${this.label}\` is not a size`, sizeHint);
      return undefined;
    }
    if (bytes >= min && bytes <= max) return bytes;
    this.refuse(`\`${this.label}\` must be from ${formatSize(min)} to ${formatSize(max)}${this.#butIs}`);
    return undefined;
  }

  rate(): { readonly count: number; readonly perMs: number } | undefined {
    if (!this.present) return undefined;
    const rate = typeof this.value === 'string' ? parseRate(this.value) : null;
    if (rate === null) {
      this.refuse(`\`${this.label}\` is not a rate`, rateHint);
      return undefined;
    }
    if (rate.count >= 1 && rate.count <= 1_000_000) return rate;
    this.refuse(`\`${this.label}\` must allow from 1 to 1000000 attempts${this.#butIs}`);
    return undefined;
  }

  /** Reports a problem with the value, at the value; later checks pass over it. */
  refuse(message: string, hint: string | null = null): void {
    this.draft.problems.add(this.position, message, hint);
    this.draft.problems.refuse(pointerOf(this.path));
  }

  /** Reports a problem at the key. */
  refuseKey(message: string, hint: string | null = null): void {
    this.draft.problems.add(this.keyPosition, message, hint);
  }

  /** The value must not appear in logs or dead letters. */
  secret(value: string): void {
    if (value !== '') this.draft.secrets.add(value);
  }
}
