import { median } from './figures.ts';
import { type CaseResult, type Figure, type Goal, isReached, type Report } from './result.ts';

/** A Markdown table, readable as it is. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

/** Three digits that mean something, and thousands apart. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  const digits = size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : 2;
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** As `7,120 (6,800 – 7,300)`. */
export function spread(samples: readonly number[]): string {
  const middle = number(median(samples));
  if (samples.length < 2) return middle;
  return `${middle} (${number(Math.min(...samples))} – ${number(Math.max(...samples))})`;
}

function figureRows(figures: readonly Figure[]): string[][] {
  const whats = [...new Set(figures.map(({ what }) => what))];
  return whats.flatMap((what) =>
    figures
      .filter((figure) => figure.what === what)
      .map(({ name, unit, samples }, i) => [i === 0 ? what : '', name, spread(samples), unit]),
  );
}

const goalRow = (goal: Goal) => [goal.text, `${spread(goal.samples)} ${goal.unit}`, isReached(goal) ? 'yes' : 'no'];

/** Figures and goals of one row of the plan. */
export function caseTables({ figures, goals, notes }: CaseResult): string {
  const parts = [markdownTable(['', '', 'median (least – most)', ''], figureRows(figures))];
  if (goals.length > 0) parts.push(markdownTable(['Goal', 'Measured', 'Reached'], goals.map(goalRow)));
  if (notes.length > 0) parts.push(notes.join(' '));
  return parts.join('\n\n');
}

/** Where and when. */
function circumstances({ measuredAt, commit, machine, load, node, postgres, rivals, rounds, scale }: Report): string {
  const others = Object.entries(rivals).map(([name, version]) =>
    name === 'node' ? `the rivals on Node ${version}` : `${name} ${version}`,
  );
  const busy = load > 1 ? ` Something else was running: the load was ${number(load)} when it began.` : '';
  const size = scale === 'full' ? '' : ` (sizes: ${scale})`;
  const versions = [`PostgreSQL ${postgres}`, `Node ${node}`, ...others].join(', ');
  return `Measured on ${measuredAt.slice(0, 10)} at commit ${commit}: ${versions}; ${machine}; ${rounds} rounds${size}.${busy}`;
}

export function terminalTable(report: Report): string {
  const parts = report.cases.map((one) => `## ${one.number}. ${one.title}\n\n${caseTables(one)}`);
  return [circumstances(report), ...parts].join('\n\n');
}

/** For docs/performance.md: the goals at a glance, then everything. */
export function pageTables(report: Report): string {
  const goals = report.cases.flatMap((one) =>
    one.goals.map((goal) => [String(one.number), one.title, ...goalRow(goal)]),
  );
  const summary = markdownTable(['#', 'What', 'Goal', 'Measured', 'Reached'], goals);
  const parts = report.cases.map((one) => `### ${one.number}. ${one.title}\n\n${caseTables(one)}`);
  return [circumstances(report), summary, ...parts].join('\n\n');
}
