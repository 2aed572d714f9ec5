/** Functions on values: numbers, choices among values, encodings. Of null they are null, as all calculations are. */
import { hash } from 'node:crypto';
import type { Environment } from '@marcbachmann/cel-js';
import { toJson, toText } from './print.ts';

type Numeric = number | bigint;

export function registerValueFunctions(environment: Environment): void {
  const define = (signature: string, handler: (...values: never[]) => unknown): void => {
    environment.registerFunction(signature, handler, { async: false });
  };
  for (const name of ['round', 'floor', 'ceil', 'abs'] as const) {
    define(`${name}(double): dyn`, Math[name]);
    define(`${name}(int): dyn`, (value: bigint) => (name === 'abs' && value < 0n ? -value : value));
    define(`${name}(null): dyn`, () => null);
  }
  for (const type of ['double', 'int']) define(`round(${type}, int): dyn`, roundTo);
  define('round(null, int): dyn', () => null);
  for (const [name, better] of [
    ['min', (a: Numeric, b: Numeric) => a < b],
    ['max', (a: Numeric, b: Numeric) => a > b],
  ] as const) {
    define(`${name}(list): dyn`, (values: Iterable<unknown>) => best(name, [...values], better));
    define(`${name}(dyn, dyn): dyn`, (a: unknown, b: unknown) => best(name, [a, b], better));
  }
  const first = (...values: unknown[]) => values.find((value) => value !== null && value !== undefined) ?? null;
  for (let count = 2; count <= 5; count++) define(`coalesce(${Array(count).fill('dyn').join(', ')}): dyn`, first);

  define('json(dyn): string', toJson);
  define('base64(dyn): dyn', (value: unknown) => encoded(value, (text) => Buffer.from(text).toString('base64')));
  define('sha256(dyn): dyn', (value: unknown) => encoded(value, (text) => hash('sha256', text, 'hex')));
}

/** Half away from zero, as PostgreSQL's numeric: by the digits that are written, where 1.005 * 100 would be 100.49…. */
function roundTo(value: Numeric, digits: bigint): number {
  const places = Number(digits);
  if (places < 0 || places > 15) throw new RangeError('round() takes from 0 to 15 digits');
  const [mantissa, exponent = '0'] = String(Math.abs(Number(value))).split('e');
  const rounded = Math.round(Number(`${mantissa}e${Number(exponent) + places}`));
  const [whole, shift = '0'] = String(rounded).split('e');
  return Math.sign(Number(value)) * Number(`${whole}e${Number(shift) - places}`);
}

function best(name: string, values: readonly unknown[], better: (a: Numeric, b: Numeric) => boolean): unknown {
  const present = values.filter((value) => value !== null);
  const odd = present.find((value) => typeof value !== 'number' && typeof value !== 'bigint');
  if (odd !== undefined) throw new TypeError(`${name}() takes numbers`);
  return (present as Numeric[]).reduce<Numeric | null>((so, one) => (so === null || better(one, so) ? one : so), null);
}

/** Of null nothing: a digest of '' would pass for one of a value. */
function encoded(value: unknown, encode: (text: string) => string): string | null {
  return value === null || value === undefined ? null : encode(toText(value).toWellFormed());
}
