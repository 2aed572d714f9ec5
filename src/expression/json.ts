/**
 * Reading PostgreSQL's JSON text without losing digits. Three views of one text, each made only when asked for:
 * values to compute with (`parseForEvaluation`), values to print (`parseForPrinting`), and the raw text of each column
 * (`rawMembers`), which is all that "what changed?" needs.
 */
import { LosslessNumber, parse } from 'lossless-json';
import type { JsonText } from '../domain/event.ts';

/** Fifteen digits always fit a double; sixteen may not. A run inside a string only costs speed. */
const mayExceedDouble = /\d{16}/;
/** A number that may be printed otherwise than written: 100.00, 1e3, -0, 9007199254740993. */
const mayPrintDifferently = /\d{16}|\d[.eE]|-0/;

/**
 * Values for CEL. A number is a `double`, except an integer beyond 2^53, which is an `int` (bigint) of any size. Making
 * every integer an `int` was rejected: `new.total / 2` would then divide 5 to 2 in one row and to 2.5 in the next,
 * depending on whether some other column of the row holds a long number.
 */
export function parseForEvaluation(text: JsonText): unknown {
  const value = mayExceedDouble.test(text) ? parse(text, null, toNumber) : JSON.parse(text);
  return text.includes('"constructor"') ? withMaps(value) : value;
}

/** The same values with every number as it was written (`LosslessNumber`) where a double might print it otherwise. */
export function parseForPrinting(text: JsonText): unknown {
  return mayPrintDifferently.test(text) ? parse(text) : JSON.parse(text);
}

function toNumber(digits: string): number | bigint {
  const double = Number(digits);
  return Number.isSafeInteger(double) || !/^-?\d+$/.test(digits) ? double : BigInt(digits);
}

/** cel-js tells types by `value.constructor`, which a key of that name hides: such objects become Maps. */
function withMaps(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withMaps);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).map(([key, member]) => [key, withMaps(member)] as const);
  return Object.hasOwn(value, 'constructor') ? new Map(entries) : Object.fromEntries(entries);
}

/** A whole number, fraction or exponent exactly as written. */
export function isLosslessNumber(value: unknown): value is LosslessNumber {
  return value instanceof LosslessNumber;
}

/**
 * The names of the top-level members whose JSON text differs, or that only one side has: those of `newText` in their
 * order, then those that are gone. Text, not value: 100.0 → 100.00 is a change of what receivers see. Empty when either
 * side is absent.
 */
export function changedColumns(oldText: JsonText | null, newText: JsonText | null): string[] {
  if (oldText === null || newText === null || oldText === newText) return [];
  return changedInStep(oldText, newText) ?? changedByName(oldText, newText);
}

/**
 * Both images have the same columns in the same order, as nearly always: read side by side, without a map of all members.
 * @returns null when they have not
 */
function changedInStep(oldText: JsonText, newText: JsonText): string[] | null {
  const changed: string[] = [];
  let before = skipSpace(oldText, 0);
  let after = skipSpace(newText, 0);
  if (oldText.charCodeAt(before) !== openingBrace || newText.charCodeAt(after) !== openingBrace) return null;
  for (;;) {
    before = skipSpace(oldText, before + 1);
    after = skipSpace(newText, after + 1);
    const more = newText.charCodeAt(after) === quote;
    if (more !== (oldText.charCodeAt(before) === quote)) return null;
    if (!more) return changed;
    const nameEnd = endOfString(newText, after);
    const newValue = valueAfter(newText, nameEnd);
    const end = endOfValue(newText, newValue);
    const sameEnd = before + end - after;
    // Slices share the memory of the text and are compared at once: a third of the time that it takes character by character.
    if (endsValue(oldText, sameEnd) && oldText.slice(before, sameEnd) === newText.slice(after, end)) {
      before = sameEnd;
      after = end;
      continue;
    }
    const name = newText.slice(after, nameEnd);
    const oldNameEnd = before + name.length;
    if (oldText.slice(before, oldNameEnd) !== name) return null;
    const oldValue = valueAfter(oldText, oldNameEnd);
    before = endOfValue(oldText, oldValue);
    const same = oldText.slice(oldValue, before).trimEnd() === newText.slice(newValue, end).trimEnd();
    if (!same) changed.push(keyName(name));
    after = end;
  }
}

function valueAfter(text: string, keyEnd: number): number {
  return skipSpace(text, skipSpace(text, keyEnd) + 1);
}

function endsValue(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === comma || code === closingBrace;
}

function changedByName(oldText: JsonText, newText: JsonText): string[] {
  const before = rawMembers(oldText);
  const after = rawMembers(newText);
  const changed: string[] = [];
  for (const [name, text] of after) if (before.get(name) !== text) changed.push(name);
  for (const name of before.keys()) if (!after.has(name)) changed.push(name);
  return changed;
}

/** The raw text of each top-level member of a JSON object; none for any other value. */
export function rawMembers(text: JsonText): Map<string, JsonText> {
  const members = new Map<string, JsonText>();
  let at = skipSpace(text, 0);
  if (text[at] !== '{') return members;
  at = skipSpace(text, at + 1);
  while (text.charCodeAt(at) === quote) {
    const keyEnd = endOfString(text, at);
    const start = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = endOfValue(text, start);
    members.set(keyName(text.slice(at, keyEnd)), text.slice(start, end).trimEnd());
    at = skipSpace(text, end + 1);
  }
  return members;
}

const quote = 0x22;
const comma = 0x2c;
const openingBracket = 0x5b;
const backslash = 0x5c;
const closingBracket = 0x5d;
const openingBrace = 0x7b;
const closingBrace = 0x7d;

function keyName(quoted: string): string {
  return quoted.includes('\\') ? JSON.parse(quoted) : quoted.slice(1, -1);
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text.charCodeAt(at) <= 0x20) at++;
  return at;
}

/** Index behind the closing quote of the string that opens at `from`. */
function endOfString(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    if (!isEscaped(text, at)) return at + 1;
  }
  return text.length;
}

function isEscaped(text: string, at: number): boolean {
  let first = at;
  while (text.charCodeAt(first - 1) === backslash) first--;
  return (at - first) % 2 === 1;
}

/** Index of the comma or brace that ends the member's value. */
function endOfValue(text: string, from: number): number {
  let depth = 0;
  let at = from;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      at = endOfString(text, at);
      continue;
    }
    if (depth === 0 && (code === comma || code === closingBrace)) return at;
    if (code === openingBrace || code === openingBracket) depth++;
    else if (code === closingBrace || code === closingBracket) depth--;
    at++;
  }
  return at;
}
