/**
 * Values as text and as JSON. `int` and exact numbers keep their digits, a `double` is written in its shortest form, a
 * timestamp as ISO 8601, a duration as seconds ("90s"), bytes as base64. A value that isn't there is '' or null.
 */
import { Optional } from '@marcbachmann/cel-js';
import { isLosslessNumber } from './json.ts';
import { DeliveryView, EventView } from './scope.ts';
import { isInfiniteInstant } from './time.ts';

/** Characters. A list of a thousand references to one long text is small until it is printed. */
const longestJson = 64 * 1024 * 1024;

/** Text that `raw()` exempts from escaping. */
export class RawText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export function toText(value: unknown): string {
  if (typeof value === 'string') return value;
  const plain = unwrap(value);
  if (plain === null) return '';
  if (typeof plain === 'string') return plain;
  return typeof plain === 'object' && !isLosslessNumber(plain) ? toJson(plain) : String(plain);
}

/** `NaN` and the infinities, which JSON lacks, become null. */
export function toJson(value: unknown): string {
  const plain = unwrap(value);
  if (plain === null) return 'null';
  switch (typeof plain) {
    case 'string':
      return JSON.stringify(plain);
    case 'number':
      return Number.isFinite(plain) ? String(plain) : 'null';
    case 'object':
      return isLosslessNumber(plain) ? plain.value : containerJson(plain);
    default:
      return String(plain);
  }
}

function containerJson(value: object): string {
  if (Array.isArray(value)) return `[${joined(value, toJson)}]`;
  const entries = value instanceof Map ? value : Object.entries(value);
  return `{${joined(entries, ([key, member]) => `${JSON.stringify(toText(key))}:${toJson(member)}`)}}`;
}

function joined<T>(items: Iterable<T>, print: (item: T) => string): string {
  const printed: string[] = [];
  let length = 0;
  for (const item of items) {
    const text = print(item);
    length += text.length;
    if (length > longestJson) throw new RangeError(`more than ${longestJson} characters of JSON`);
    printed.push(text);
  }
  return printed.join(',');
}

/**
 * The plain JavaScript value: what `JSON.stringify` can write, except that an integer beyond 2^53 is a bigint, because
 * there is no other value that is it.
 */
export function toPlain(value: unknown): unknown {
  const plain = unwrap(value);
  if (typeof plain === 'bigint') {
    const double = Number(plain);
    return Number.isSafeInteger(double) ? double : plain;
  }
  if (plain === null || typeof plain !== 'object') return plain;
  if (isLosslessNumber(plain)) return Number(plain.value);
  if (Array.isArray(plain)) return plain.map(toPlain);
  const entries = plain instanceof Map ? [...plain] : Object.entries(plain);
  return Object.fromEntries(entries.map(([key, member]) => [toText(key), toPlain(member)]));
}

/** CEL's own value types as what they are written as: a scalar, an array, a Map or a plain object. */
function unwrap(value: unknown): string | number | bigint | boolean | object | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string' || typeof value === 'number') return value;
  if (typeof value === 'bigint' || typeof value === 'boolean') return value;
  if (value instanceof RawText) return value.text;
  if (value instanceof Date) return dateText(value);
  if (value instanceof Optional) return unwrap(value.orValue(null));
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof EventView || value instanceof DeliveryView) return value.toJSON();
  if (value instanceof Set) return [...value];
  if (Array.isArray(value) || value instanceof Map || isLosslessNumber(value)) return value;
  if (isPlainObject(value)) return value;
  // CEL's uint is a wrapped bigint, a type has a name, a duration writes itself.
  const primitive: unknown = value.valueOf();
  if (typeof primitive === 'bigint') return primitive;
  const { name } = value as { readonly name?: unknown };
  return typeof name === 'string' ? name : String(value);
}

/** A JSON object, whatever its keys are called: `value.constructor` may be one of them. */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function dateText(date: Date): string {
  const infinite = isInfiniteInstant(date);
  if (infinite !== 0) return infinite > 0 ? 'infinity' : '-infinity';
  return Number.isNaN(date.getTime()) ? '' : date.toISOString();
}
