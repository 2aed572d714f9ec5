/** Every benchmark in its smallest size: that it runs, loses nothing (it throws when a row is missing) and yields figures. */
import { describe, expect, inject, it } from 'vitest';
import { cases } from '../../bench/cases/index.ts';
import { rivalsInstalled } from '../../bench/support/rivals.ts';
import { runBench } from '../../bench/support/run-bench.ts';
import { terminalTable } from '../../bench/support/tables.ts';

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
