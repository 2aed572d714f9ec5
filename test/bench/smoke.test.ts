/** Every benchmark in its smallest size: that it runs, loses nothing (it throws when a row is missing) and yields figures. */
import { readFileSync } from 'node:fs';
import { describe, expect, inject, it } from 'vitest';
import { cases } from '../../bench/cases/index.ts';
import { chart } from '../../bench/support/chart.ts';
import type { Report } from '../../bench/support/result.ts';
import { rivalsInstalled } from '../../bench/support/rivals.ts';
import { runBench } from '../../bench/support/run-bench.ts';
import { terminalTable } from '../../bench/support/tables.ts';
import { reportFile, withFigures } from '../../bench/support/write.ts';

const docs = new URL('../../docs/', import.meta.url);
const readDocs = (file: string) => readFileSync(new URL(file, docs), 'utf8');

describe('in its smallest size', () => {
  it.each(cases.map((one) => [one.number, one.title, one] as const))(
    'row %i: %s',
    { timeout: 180_000 },
    async (...args) => {
      const [, , one] = args;
      process.env.BENCH_DATABASE_URL = inject('postgresUrl');
      const log: string[] = [];
      const options = {
        scale: 'smoke',
        rounds: 1,
        rivals: rivalsInstalled(),
        log: (line: string) => log.push(line),
      } as const;
      const report = await runBench({ ...options, cases: [one] });
      expect(report.failed).toEqual([]);
      const [result] = report.cases;
      expect(result?.figures.length, 'figures').toBeGreaterThan(0);
      for (const { name, what, samples } of result?.figures ?? []) {
        expect(samples.every(Number.isFinite), `${name}, ${what}: ${samples.join(' ')}`).toBe(true);
      }
      for (const { text, samples } of result?.goals ?? []) expect(samples.every(Number.isFinite), text).toBe(true);
      for (const what of result?.shown ?? []) expect(result?.figures.map((figure) => figure.what)).toContain(what);
      expect(terminalTable(report)).toContain(one.title);
    },
  );
});

describe('docs/performance.md and its chart', () => {
  const report: Report = JSON.parse(readFileSync(reportFile, 'utf8'));

  it('show what docs/performance.json has: else npm run bench:docs', () => {
    const page = readDocs('performance.md');
    expect(withFigures(page, report)).toBe(page);
    expect(chart(report)).toBe(readDocs('performance.svg'));
  });
});
