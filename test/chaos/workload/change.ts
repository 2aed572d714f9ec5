import { createHash } from 'node:crypto';
import { LosslessNumber, parse } from 'lossless-json';
import type { Source } from '../observers.ts';

/** What a body says of a change, without what only the sidecar knows (uid, time). */
export interface Told {
  readonly source: string;
  readonly operation: string;
  readonly key: unknown;
  readonly tenant: unknown;
  readonly data: unknown;
}

/** A committed change, as the writer wrote it down in its own transaction. */
export interface Change {
  readonly source: Source;
  readonly operation: string;
  /** From one sequence, drawn while the change's key is locked: of one key, greater is younger. */
  readonly op: number;
  /** The `op` that stands in the row, or in the payload: it names the change at the receiver. */
  readonly mark: string;
  readonly key: string;
  readonly amount: number | null;
  readonly told: Told;
}

export const deliveryName = (observer: string, source: string, operation: string, mark: string): string =>
  `${observer} ${source} ${operation} ${mark}`;

/** Of the whole content, digit for digit. */
export function digestOf({ source, operation, key, tenant, data }: Told): string {
  return createHash('sha1')
    .update(canonical([source, operation, key, tenant, data]))
    .digest('base64url')
    .slice(0, 16);
}

/** Numbers stay as they are written. */
export function parseExactly(text: string): unknown {
  return parse(text);
}

/** @param value from parseExactly */
export function canonical(value: unknown): string {
  if (value instanceof LosslessNumber) return value.toString();
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, one]) => `${JSON.stringify(key)}:${canonical(one)}`).join(',')}}`;
}
