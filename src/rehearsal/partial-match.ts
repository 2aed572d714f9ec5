/** Whether a value has all that is expected of it, and if not, where it is otherwise. */
import { isLosslessNumber, parse } from 'lossless-json';

export interface Difference {
  /** `body.items[0].total`; empty: the whole. */
  readonly path: string;
  /** JSON text; null: absent. */
  readonly expected: string;
  readonly actual: string | null;
}

/** Both as JSON text. What the actual value has besides does not matter, but a list has as many items. */
export function differences(expected: string, actual: string): readonly Difference[] {
  return [...compare(parse(expected), parse(actual), '')];
}

function* compare(expected: unknown, actual: unknown, path: string): Generator<Difference> {
  const other = alike(expected, actual);
  if (Array.isArray(expected) && Array.isArray(other)) {
    if (expected.length !== other.length) yield { path, expected: text(expected), actual: text(other) };
    else for (const [i, item] of expected.entries()) yield* compare(item, other[i], `${path}[${i}]`);
  } else if (isMap(expected) && isMap(other)) {
    for (const [key, value] of Object.entries(expected)) {
      const name = /^[A-Za-z_][\w-]*$/.test(key) ? `${path === '' ? '' : '.'}${key}` : `[${JSON.stringify(key)}]`;
      if (Object.hasOwn(other, key)) yield* compare(value, other[key], path + name);
      else yield { path: path + name, expected: text(value), actual: null };
    }
  } else if (!sameScalar(expected, other)) yield { path, expected: text(expected), actual: text(other) };
}

/** A text that is JSON, where a structure is expected; and one item, where a lone value is. */
function alike(expected: unknown, actual: unknown): unknown {
  if (expected !== null && typeof expected === 'object' && !isLosslessNumber(expected) && typeof actual === 'string') {
    try {
      return parse(actual);
    } catch {
      return actual;
    }
  }
  const isLone = !Array.isArray(expected) && !isMap(expected);
  return isLone && Array.isArray(actual) && actual.length === 1 ? actual[0] : actual;
}

function sameScalar(expected: unknown, actual: unknown): boolean {
  if (!isLosslessNumber(expected) || !isLosslessNumber(actual)) return expected === actual;
  return expected.value === actual.value || canonical(expected.value) === canonical(actual.value);
}

/** One text for all ways to write a number: 100, 100.00 and 1e2. */
function canonical(digits: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?$/.exec(digits) ?? [];
  const all = (whole + fraction).replace(/^0+/, '');
  const significant = all.replace(/0+$/, '');
  if (significant === '') return '0';
  return `${sign}${significant}e${Number(exponent) - fraction.length + all.length - significant.length}`;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isLosslessNumber(value);
}

function text(value: unknown): string {
  if (isLosslessNumber(value)) return value.value;
  if (Array.isArray(value)) return `[${value.map(text).join(', ')}]`;
  if (isMap(value))
    return `{${Object.entries(value)
      .map(([key, member]) => `${JSON.stringify(key)}: ${text(member)}`)
      .join(', ')}}`;
  return JSON.stringify(value) ?? 'null';
}
