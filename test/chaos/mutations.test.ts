/** Planted bugs, each found by the scenario that is there for it. */

import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { broken } from './checker.ts';
import { checkpointFirst, claimWithoutLock, idGreaterThanLast, type Mutation, noFence, plant } from './mutations.ts';
import type { RunResult } from './run.ts';
import type { Scenario } from './scenario.ts';
import { pause } from './scenarios/pause.ts';
import { steady } from './scenarios/steady.ts';
import { shortRun } from './support.ts';

/** The one that routes is killed again and again. */
const killRouters: Scenario = {
  name: 'kill-routers',
  promise: 'as `kill`',
  instances: 2,
  repeats: 'in flight',
  async nemesis({ rest, fleet, random }) {
    while (await rest(random.between(300, 800))) if (fleet.router !== null) await fleet.kill(fleet.router);
  },
};

/** What is in flight at the pause has timed out at the waking, and is in flight with the other one then. */
const zombies: Scenario = {
  ...pause,
  instances: 2,
  async nemesis({ rest, fleet, random, receivers }) {
    for (const destination of receivers.destinations) {
      receivers.behave(destination, () => ({ status: 204, delayMs: random.between(700, 1_200) }));
    }
    for (let n = 0; await rest(600); n++) {
      await fleet.pause(fleet.instance((n % 2) + 1), () => sleep(random.between(3_000, 3_600)));
    }
  },
};

const cases: [Mutation, Scenario, (typeof broken)[number]][] = [
  [checkpointFirst, killRouters, 'lost'],
  [idGreaterThanLast, { ...steady, instances: 1 }, 'lost'],
  [noFence, zombies, 'unexplainedDuplicates'],
  [claimWithoutLock, steady, 'unexplainedDuplicates'],
];

test.each(cases)(
  '$name is found out',
  async (mutation, scenario, kind) => {
    const mutant = await plant(mutation);
    onTestFinished(mutant.remove);
    const { directory, verdict } = await firstBroken(scenario, kind, mutant.program);
    onTestFinished(async () => {
      if (directory !== null) await rm(directory, { recursive: true, force: true });
    });
    console.log(
      `${mutation.name}: ${verdict.lost} lost, ${verdict.unexplainedDuplicates} repeated, ${verdict.outOfOrder} out of order`,
    );
    expect(verdict[kind], mutation.bug).toBeGreaterThan(0);
    expect(directory, 'a run that failed keeps its evidence').not.toBeNull();
  },
  240_000,
);

/** A fault has to hit the moment of the bug: a short run may miss it, three in a row hardly. */
async function firstBroken(scenario: Scenario, kind: (typeof broken)[number], program: string): Promise<RunResult> {
  for (let seed = 7; ; seed++) {
    const result = await shortRun(scenario, { seed, durationMs: 6_000, patienceMs: 4_000, program });
    if (result.verdict[kind] > 0 || seed === 9) return result;
    if (result.directory !== null) await rm(result.directory, { recursive: true, force: true });
  }
}

test('a patch that no longer applies is an error, not a program without the bug', async () => {
  const stale = { ...noFence, patches: [{ file: 'engine.js', find: 'no such text', replace: '' }] };
  await expect(plant(stale)).rejects.toThrow(/no-fence: no such text occurs 0 times in dist\/engine\.js/);
});
