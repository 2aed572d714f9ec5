import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { chart } from './chart.ts';
import type { Report } from './result.ts';
import { pageTables } from './tables.ts';

const results = new URL('../results/', import.meta.url);
const docs = new URL('../../docs/', import.meta.url);
export const reportFile = new URL('performance.json', docs);
const page = new URL('performance.md', docs);

const [begin, end] = ['<!-- figures: written by npm run bench:docs -->', '<!-- end of figures -->'];

export async function writeResults(report: Report): Promise<void> {
  await mkdir(results, { recursive: true });
  await writeFile(new URL('latest.json', results), `${JSON.stringify(report, null, 2)}\n`);
}

export async function writeDocs(report: Report): Promise<void> {
  await writeFile(reportFile, `${JSON.stringify(report, null, 2)}\n`);
  await writePages(report);
}

/** The figures of docs/performance.md between their marks, and the chart. */
export async function writePages(report: Report): Promise<void> {
  await writeFile(page, withFigures(await readFile(page, 'utf8'), report));
  await writeFile(new URL('performance.svg', docs), chart(report));
}

/** @throws when the marks are missing */
export function withFigures(markdown: string, report: Report): string {
  const [from, to] = [markdown.indexOf(begin), markdown.indexOf(end)];
  if (from === -1 || to < from)
    throw new Error('docs/performance.md has lost the marks between which the figures stand');
  return `${markdown.slice(0, from + begin.length)}\n\n${pageTables(report)}\n\n${markdown.slice(to)}`;
}
