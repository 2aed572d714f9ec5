import pc from 'picocolors';
import type { EventRecord } from '../domain/event.ts';

/** Wide enough for most, so that a page that comes later is aligned with the one before. */
const widths = [10, 23, 24, 12] as const;

export const eventHead = (): string =>
  pc.bold([...padded(['ID', 'CAPTURED (UTC)', 'EVENT', 'KEY']), 'DATA'].join('  '));

/** One line, cut to the terminal's width; whole when piped. */
export function eventLine(event: EventRecord): string {
  const { id, at, source, operation, key, tenant } = event;
  const cells = padded([id, at.slice(0, 23).replace('T', ' '), `${source}.${operation}`, key ?? '–']);
  const image = event.new ?? event.payload ?? event.old ?? '';
  const data = `${tenant === null ? '' : `[${tenant}] `}${image.replaceAll(/\s+/g, ' ')}`;
  const line = [...cells, data].join('  ').trimEnd();
  const room = process.stdout.columns ?? Number.POSITIVE_INFINITY;
  return line.length <= room ? line : `${line.slice(0, room - 1)}…`;
}

const padded = (cells: readonly string[]) => cells.map((cell, i) => cell.padEnd(widths[i] ?? 0));
