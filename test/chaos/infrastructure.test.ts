/** The most telling of the scenarios about servers and networks, for seconds each. */

import { expect, test } from 'vitest';
import { summaryOf, tell } from './report.ts';
import { type RunResult, runScenario } from './run.ts';
import type { Scenario } from './scenario.ts';
import { networkDatabase } from './scenarios/network-database.ts';
import { postgresKill } from './scenarios/postgres-kill.ts';
import { receiversFail } from './scenarios/receivers-fail.ts';
import { shortRun } from './support.ts';

/** The one that kills its server has one of its own. */
const onItsOwnServer = (scenario: Scenario, options: { seed: number; durationMs: number }): Promise<RunResult> =>
  runScenario(scenario, options);

test.each([
  { scenario: postgresKill, run: onItsOwnServer, seed: 9, durationMs: 6_000 },
  // This seed begins with the worst: a network that forgets half of the connections of one instance.
  { scenario: networkDatabase, run: shortRun, seed: 19, durationMs: 5_000 },
  { scenario: receiversFail, run: shortRun, seed: 11, durationMs: 4_000 },
])(
  '$scenario.name: its promise holds',
  async ({ scenario, run, seed, durationMs }) => {
    const missing = await scenario.available?.();
    if (missing) return console.log(`left out: ${missing}`);
    const result = await run(scenario, { seed, durationMs });
    expect(result.verdict.violations, tell(result)).toEqual([]);
    expect(result.complaints, tell(result)).toEqual([]);
    expect(result.verdict.deliveries).toBeGreaterThan(100);
    expect(Object.keys(result.faults).length, 'a scenario without faults proves nothing').toBeGreaterThan(0);
    console.log(JSON.stringify(summaryOf(result)));
  },
  120_000,
);
