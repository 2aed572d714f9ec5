import { parseDocument, type YAMLError } from 'yaml';
import type { Position } from '../domain/rules.ts';
import { Lines } from './lines.ts';
import { mask, noncharacter, unmask } from './mask.ts';
import { type Place, readValue } from './nodes.ts';
import { type Path, pointerOf } from './pointer.ts';
import type { Problems } from './problems.ts';
import { sourceOffset } from './scalar-offsets.ts';

/** A configuration as written: its plain value, and where each part of it stands. */
export class WrittenDocument {
  /** JSON-like: text, numbers, booleans, null, arrays, objects. */
  readonly value: unknown;
  readonly #source: string;
  readonly #lines: Lines;
  readonly #places: ReadonlyMap<string, Place>;

  constructor(value: unknown, source: string, lines: Lines, places: ReadonlyMap<string, Place>) {
    this.value = value;
    this.#source = source;
    this.#lines = lines;
    this.#places = places;
  }

  /** Where a value begins; of a part that isn't there, where the part around it begins. */
  position(path: Path): Position {
    for (let depth = path.length; depth >= 0; depth -= 1) {
      const place = this.#places.get(pointerOf(path.slice(0, depth)));
      if (place !== undefined) return this.#lines.at(place.offset);
    }
    return this.#lines.at(0);
  }

  /** Where the key of a value begins; of a list item, where the item begins. */
  keyPosition(path: Path): Position {
    const key = this.#places.get(pointerOf(path))?.keyOffset;
    return key === undefined || key === null ? this.position(path) : this.#lines.at(key);
  }

  /** Where a character of a text begins. */
  characterPosition(path: Path, offset: number): Position {
    const scalar = this.#places.get(pointerOf(path))?.scalar;
    if (scalar === undefined || scalar === null || typeof scalar.value !== 'string') return this.position(path);
    return this.#lines.at(sourceOffset(this.#source, scalar, scalar.value, offset));
  }

  /** A value as JSON, with every number as it was written: 100.00 stays 100.00. */
  json(path: Path): string {
    const value = this.at(path);
    if (Array.isArray(value)) return `[${value.map((_, i) => this.json([...path, i])).join(', ')}]`;
    if (value !== null && typeof value === 'object') {
      return `{${Object.keys(value)
        .map((key) => `${JSON.stringify(key)}: ${this.json([...path, key])}`)
        .join(', ')}}`;
    }
    const source = this.#places.get(pointerOf(path))?.scalar?.source ?? '';
    if (typeof value === 'number' && /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(source)) return source;
    return typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? 'null');
  }

  /** The value as written, or undefined. */
  at(path: Path): unknown {
    let value: unknown = this.value;
    for (const step of path) value = childOf(value, step);
    return value;
  }
}

export function childOf(value: unknown, step: string | number): unknown {
  if (value === null || typeof value !== 'object' || !Object.hasOwn(value, step)) return undefined;
  return (value as Record<string | number, unknown>)[step];
}

/** @throws ConfigError when the text isn't YAML: nothing else can be said about it then */
export function readDocument(text: string, problems: Problems): WrittenDocument {
  refuseUnreadable(text, problems);
  const source = mask(text.replace(/^\uFEFF/, ''));
  const lines = new Lines(source);
  // `uniqueKeys` off: readValue tells of duplicate keys itself, with the line of the first.
  const document = parseDocument(source, { uniqueKeys: false, prettyErrors: false });
  reportSyntax([...document.errors, ...document.warnings], lines, problems);
  problems.throwIfAny();
  const { value, places } = readValue(document, lines, problems);
  return new WrittenDocument(value, source, lines, places);
}

const largestFile = 16 * 1024 * 1024;
const deepest = 200;

/** What would take the YAML parser's stack or a great part of the memory with it. */
function refuseUnreadable(text: string, problems: Problems): void {
  const start = { line: 1, column: 1 };
  if (text.length > largestFile) problems.add(start, 'the file is larger than 16 MiB');
  else if (tooDeep(text)) problems.add(start, `the file is nested more than ${deepest} levels deep`);
  const strange = text.search(noncharacter);
  if (strange >= 0) {
    problems.add(new Lines(text).at(strange), 'this character is not text (a Unicode noncharacter)', 'remove it');
  }
  problems.throwIfAny();
}

/** An upper bound that needs no parser: brackets open at once, and `- - -` on one line. */
function tooDeep(text: string): boolean {
  let open = 0;
  for (const [bracket] of text.matchAll(/[[\]{}]/g)) {
    open = bracket === '[' || bracket === '{' ? open + 1 : Math.max(0, open - 1);
    if (open > deepest) return true;
  }
  return /(?:[-?:][ \t]+){200}/.test(text);
}

function reportSyntax(errors: readonly YAMLError[], lines: Lines, problems: Problems): void {
  let lastLine = 0;
  for (const error of [...errors].sort((a, b) => a.pos[0] - b.pos[0])) {
    const position = lines.at(error.pos[0]);
    // The first error of a line explains it; the others are its echo.
    if (position.line === lastLine) continue;
    lastLine = position.line;
    const [message, hint] = syntaxMessage(error);
    problems.add(position, message, hint);
  }
}

function syntaxMessage(error: YAMLError): readonly [message: string, hint: string | null] {
  switch (error.code) {
    case 'BLOCK_AS_IMPLICIT_KEY':
      return ['a value without quotes holds `: `', 'put the value in quotes'];
    case 'TAB_AS_INDENT':
      return ['a tab indents this line', 'YAML indents with spaces'];
    case 'MULTIPLE_DOCS':
      return ['a second document begins here', 'remove the `---`'];
    case 'TAG_RESOLVE_FAILED':
      return [unmask(error.message).replace(/^Unresolved tag: (.*)$/, 'unknown tag `$1`'), 'remove it'];
    case 'MISSING_CHAR':
      return error.message.includes('quote')
        ? ['a quoted value is not closed', null]
        : [`not YAML: ${sentence(error)}`, null];
    case 'BAD_INDENT':
      return error.message.startsWith('Flow')
        ? ['a `{` or `[` is not closed, or its content is indented too little', null]
        : [`not YAML: ${sentence(error)}`, null];
    case 'BAD_SCALAR_START':
      return [`not YAML: ${sentence(error)}`, 'put the value in quotes'];
    default:
      return [`not YAML: ${sentence(error)}`, null];
  }
}

function sentence(error: YAMLError): string {
  const text = unmask(error.message);
  return text.charAt(0).toLowerCase() + text.slice(1);
}
