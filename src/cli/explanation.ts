import pc from 'picocolors';
import type { Explained, ReadValue } from '../expression/index.ts';

/** Longest part and longest value on a line; the whole is in `--json`. */
const longestSource = 60;
const longestValue = 48;

/** A condition and its parts, each on a line: what it says, what it is, and what it read. */
export function conditionLines(explained: Explained): string[] {
  const rows = rowsOf(explained, 0, '');
  const width = Math.min(longestSource, Math.max(...rows.map(({ text }) => text.length)));
  return rows.map(({ text, explained: part }) => {
    const note = noteOf(part);
    return `${text.padEnd(width)}   ${verdictText(part)}${note === '' ? '' : `   ${note}`}`.trimEnd();
  });
}

interface Row {
  readonly text: string;
  readonly explained: Explained;
}

const headings = { all: 'all of', any: 'any of', not: 'not', if: 'if, then, else' } as const;

function rowsOf(explained: Explained, depth: number, before: string): Row[] {
  const { operator, parts, source } = explained;
  const text = operator === null ? cut(source.replaceAll(/\s+/g, ' '), longestSource - 2 * depth) : headings[operator];
  return [
    { text: `${'  '.repeat(depth)}${before}${text}`, explained },
    ...parts.flatMap((part) => rowsOf(part, depth + 1, '')),
  ];
}

const colours = { true: pc.green, false: pc.yellow, error: pc.red, value: pc.red, skipped: pc.dim } as const;
const words = { true: 'true', false: 'false', error: 'error', value: 'no answer', skipped: 'not evaluated' } as const;

function verdictText({ verdict }: Explained): string {
  return colours[verdict](words[verdict]);
}

function noteOf({ verdict, values, error, operator }: Explained): string {
  if (verdict === 'skipped' || operator !== null) return '';
  const read = values.length === 0 ? '' : `(${values.map(readText).join(', ')})`;
  const why = verdict === 'value' ? 'neither true nor false' : error;
  return [read, why].filter((text) => text !== null && text !== '').join('  ');
}

function readText({ of, json }: ReadValue): string {
  return json === null ? `${of} is missing` : `${of} is ${cut(json, longestValue)}`;
}

function cut(text: string, room: number): string {
  return text.length <= room ? text : `${text.slice(0, Math.max(1, room - 1))}…`;
}
