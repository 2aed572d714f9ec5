import { createHash } from 'node:crypto';
import pg from 'pg';

/** `"a""b"`: any text as one SQL identifier. */
export const quoteIdentifier = pg.escapeIdentifier;

/** `'a''b'`: any text as one SQL string. */
export const quoteLiteral = pg.escapeLiteral;

export function qualified(schema: string, name: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
}

/** PostgreSQL cuts names at 63 bytes, and two long names could become one: keep them distinct by a hash instead. */
export function boundedName(name: string): string {
  if (Buffer.byteLength(name) <= 63) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  const kept = Buffer.from(name)
    .subarray(0, 54)
    .toString('utf8')
    .replace(/\uFFFD+$/, '');
  return `${kept}_${hash}`;
}
