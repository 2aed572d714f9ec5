import pc from 'picocolors';

/** Columns as wide as their widest cell; the last one is cut to the terminal's width. Plain when piped. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const last = head.length - 1;
  const before = widths.slice(0, last).reduce((sum, width) => sum + width + 2, 0);
  const room = Math.max(20, (process.stdout.columns ?? Number.POSITIVE_INFINITY) - before);
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i === last ? cut(cell, room) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  return [pc.bold(line(head)), ...rows.map(line)].join('\n');
}

function cut(text: string, room: number): string {
  const single = text.replaceAll(/\s+/g, ' ');
  return single.length <= room ? single : `${single.slice(0, room - 1)}…`;
}

/** `3 s ago` for a time of the database. */
export function ago(timestamp: string | null): string {
  if (timestamp === null) return '–';
  return `${span(Date.now() - new Date(timestamp).getTime())} ago`;
}

/** The largest sensible unit: `250 ms`, `3 s`, `12 min`, `5 h`, `2 d`. */
export function span(ms: number): string {
  const steps: readonly [number, string][] = [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'min'],
    [1_000, 's'],
  ];
  for (const [unit, name] of steps) if (ms >= unit * 1.5) return `${Math.round(ms / unit)} ${name}`;
  return `${Math.max(0, Math.round(ms))} ms`;
}
