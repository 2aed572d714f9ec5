/**
 * A file of the archive: one day of one table, as JSON lines, compressed with gzip. The first line says what is in it.
 *
 * It is written last, in place: what it says of the lines is only known behind them, and at the end of the file nobody would
 * find it without reading all. So it is a gzip member of its own, stored and padded to a fixed length; members follow each
 * other in any gzip file, and `zcat` shows one text.
 */

import { gzipSync } from 'node:zlib';
import type { LogTable } from '../../domain/retention.ts';

/** Of this form of the file. */
const version = 1;
const headerTextBytes = 512;

export interface DayHeader {
  readonly pg_observers_archive: number;
  readonly table: LogTable;
  /** `2026-11-21`, in UTC. */
  readonly day: string;
  /** Cluster and name of the database that the day is from. */
  readonly database: string;
  readonly rows: number;
  /** Of all lines behind this one, each with its line break. */
  readonly sha256: string;
}

export const dayFileName = (day: string): string => `${day}.ndjson.gz`;

/** Sorts as the days do. @returns null when the file is not one of ours */
export function parseDayFileName(file: string): { readonly table: LogTable; readonly day: string } | null {
  const match = /^(events|attempts)_(\d{4})(\d\d)(\d\d)\.ndjson\.gz$/.exec(file);
  if (match === null) return null;
  return { table: match[1] as LogTable, day: `${match[2]}-${match[3]}-${match[4]}` };
}

export function headerBytes(header: Omit<DayHeader, 'pg_observers_archive'>): Buffer {
  const text = JSON.stringify({ pg_observers_archive: version, ...header });
  return gzipSync(`${text.padEnd(headerTextBytes - 1)}\n`, { level: 0 });
}

export const headerLength: number = headerBytes({ table: 'events', day: '', database: '', rows: 0, sha256: '' }).length;

/** @returns null when it is none, or of a later version of this program */
export function parseHeader(line: string): DayHeader | null {
  try {
    const header: unknown = JSON.parse(line);
    return isHeader(header) ? header : null;
  } catch {
    return null;
  }
}

function isHeader(value: unknown): value is DayHeader {
  return (
    value !== null &&
    typeof value === 'object' &&
    'pg_observers_archive' in value &&
    value.pg_observers_archive === version
  );
}
