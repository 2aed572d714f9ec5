/** Some scenarios, for seconds each; `npm run chaos` runs all of them for as long as you like. */

import { expect, test } from 'vitest';
import { summaryOf, tell } from './report.ts';
import { scenarios } from './scenarios/index.ts';
import { shortRun } from './support.ts';

const seed = 7;

test.each([
  ['kill', 6_000],
  ['pause', 7_000],
  ['rolling', 4_000],
  ['terminate', 4_000],
  ['reload', 4_000],
  ['clock', 5_000],
])(
  '%s: its promise holds',
  async (name, durationMs) => {
    const scenario = scenarios.find((one) => one.name === name);
    if (scenario === undefined) throw new Error(`no scenario ${name}`);
    const result = await shortRun(scenario, { seed, durationMs });
    const { violations, ...counts } = result.verdict;
    expect(violations, tell(result)).toEqual([]);
    expect(result.complaints, tell(result)).toEqual([]);
    expect(counts.deliveries).toBeGreaterThan(100);
    expect(Object.keys(result.faults).length, 'a scenario without faults proves nothing').toBeGreaterThan(0);
    expect(result.directory).toBeNull();
    console.log(JSON.stringify(summaryOf(result)));
  },
  120_000,
);

test('every scenario has a name of its own that fits on the command line', () => {
  const names = scenarios.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^[a-z][a-z-]*$/);
});
