/** What expressions can call beyond CEL's standard library, and CEL's operators where they meet PostgreSQL's values. */
import type { Environment } from '@marcbachmann/cel-js';
import type { RE2JS } from 're2js';
import { RawText, toText } from './print.ts';
import { dayOfYear, parseTimestamp, startOfDay } from './time.ts';

const timestamp = 'google.protobuf.Timestamp';
const duration = 'google.protobuf.Duration';

/** Characters `replace` may produce: more is refused before it is built. */
const longestReplacement = 16 * 1024 * 1024;

// `async: false` matters: cel-js takes every other function for one that may return a Promise.
const synchronous = { async: false } as const;

export function registerFunctions(environment: Environment): void {
  const define = (signature: string, handler: (...values: never[]) => unknown): void => {
    environment.registerFunction(signature, handler, synchronous);
  };

  // These return `dyn`, not Timestamp: of null they are null, and a checked type that says otherwise would skip the
  // comparison with null.
  define('ts(string): dyn', parseTimestamp);
  define('ts(int): dyn', (seconds: bigint) => instantOf(Number(seconds)));
  define('ts(double): dyn', instantOf);
  define(`ts(${timestamp}): dyn`, (instant: Date) => instant);
  define('ts(null): dyn', () => null);
  define('date(string): dyn', (text: string) => startOfDay(parseTimestamp(text)));
  define(`date(${timestamp}): dyn`, startOfDay);
  define('date(null): dyn', () => null);
  define(`${timestamp}.yearDay(): int`, (instant: Date) => dayOfYear(instant));
  define(`${timestamp}.yearDay(string): int`, dayOfYear);

  define('string.replace(string, string): string', replaceAll);
  define('string.lower(): string', (text: string) => text.toLowerCase());
  define('string.upper(): string', (text: string) => text.toUpperCase());
  define('string.matches(Pattern): bool', (text: string, pattern: RE2JS) => pattern.test(text));
  define('list.contains(dyn): bool', (list: Iterable<unknown>, wanted: unknown) => listContains(list, wanted));

  for (const type of ['null', 'map', 'list', timestamp, duration, 'Raw']) define(`string(${type}): string`, toText);
  define('urlencode(dyn): string', (value: unknown) => encodeURIComponent(wellFormed(toText(value))));
  define('raw(dyn): Raw', (value: unknown) => new RawText(toText(value)));
}

/**
 * Null where PostgreSQL's null would be unknown: a comparison with it is false, a calculation with it is null, a text
 * test on it is false.
 */
export function registerNull(environment: Environment): void {
  const comparable = ['bool', 'int', 'uint', 'double', 'string', timestamp, duration];
  const no = (): boolean => false;
  const unknown = (): null => null;
  for (const operator of ['<', '<=', '>', '>=']) {
    environment.registerOperator(`null ${operator} null`, no);
    for (const type of comparable) {
      environment.registerOperator(`null ${operator} ${type}`, no);
      environment.registerOperator(`${type} ${operator} null`, no);
    }
  }
  for (const operator of ['+', '-', '*', '/', '%']) {
    const types = operator === '+' ? [...comparable.slice(1), 'list'] : comparable.slice(1);
    environment.registerOperator(`null ${operator} null: dyn`, unknown);
    for (const type of types) {
      environment.registerOperator(`null ${operator} ${type}: dyn`, unknown);
      environment.registerOperator(`${type} ${operator} null: dyn`, unknown);
    }
  }
  environment.registerOperator('-null: dyn', unknown);
  environment.registerOperator('dyn in null: bool', no);
  for (const test of ['startsWith(string)', 'endsWith(string)', 'contains(dyn)', 'matches(Pattern)']) {
    environment.registerFunction(`null.${test}: bool`, no, synchronous);
  }
  for (const change of [
    'lower()',
    'upper()',
    'lowerAscii()',
    'upperAscii()',
    'trim()',
    'replace(string, string)',
    'split(string)',
    'join(string)',
    'join()',
  ]) {
    environment.registerFunction(`null.${change}: dyn`, unknown, synchronous);
  }
}

/** JSON numbers are doubles and literals such as 2 are ints: CEL has no arithmetic between the two. */
export function registerMixedArithmetic(environment: Environment): void {
  const operators: Readonly<Record<string, (a: number, b: number) => number>> = {
    '+': (a, b) => a + b,
    '-': (a, b) => a - b,
    '*': (a, b) => a * b,
    '/': (a, b) => a / b,
    '%': (a, b) => a % b,
  };
  for (const [operator, apply] of Object.entries(operators)) {
    const mixed = (a: number | bigint, b: number | bigint): number => apply(Number(a), Number(b));
    environment.registerOperator(`double ${operator} int`, mixed);
    environment.registerOperator(`int ${operator} double: double`, mixed);
  }
  environment.registerOperator('double % double', (a: number, b: number) => a % b);
  // biome-ignore lint/suspicious/noDoubleEquals: `===` is false between 1 and 1n, `==` compares them exactly.
  environment.registerOperator('int == double', (a: bigint, b: number) => (a as unknown) == b);
}

function instantOf(seconds: number): Date {
  const instant = new Date(seconds * 1000);
  if (Number.isNaN(instant.getTime())) throw new RangeError(`${seconds} is not a time in seconds since 1970`);
  return instant;
}

function replaceAll(text: string, search: string, replacement: string): string {
  const parts = text.split(search);
  const length = text.length + (parts.length - 1) * (replacement.length - search.length);
  if (length > longestReplacement) throw new RangeError(`replace() would make a text of ${length} characters`);
  return parts.join(replacement);
}

function listContains(list: Iterable<unknown>, wanted: unknown): boolean {
  for (const element of list) {
    if (element === wanted) return true;
    // biome-ignore lint/suspicious/noDoubleEquals: as above; only numbers get here.
    if (isNumeric(element) && isNumeric(wanted) && element == wanted) return true;
  }
  return false;
}

function isNumeric(value: unknown): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}

/** `encodeURIComponent` throws on half a surrogate pair. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}
