import { CompileError, type ValuePath } from './compile-error.ts';

/** A text as a CEL literal. JSON's escapes are a subset of CEL's. */
export function quote(text: string): string {
  return JSON.stringify(text);
}

/**
 * A YAML scalar as a CEL literal: never anything but one literal, whatever the text holds.
 * @throws CompileError for what isn't a scalar
 */
export function literal(value: unknown, path: ValuePath): string {
  if (typeof value === 'string') return quote(value);
  if (value === null || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (typeof value === 'number' && Number.isFinite(value)) {
    // Beyond 2^53 the digits of a YAML number may be gone already; as a double it at least says so.
    return Number.isInteger(value) && !Number.isSafeInteger(value) ? value.toExponential() : String(value);
  }
  throw new CompileError('takes a text, a number, true, false or null', { path });
}
