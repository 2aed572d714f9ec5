import { restartImmediately } from '../faults/postgres.ts';
import type { Scenario } from '../scenario.ts';

export const postgresRestart: Scenario = {
  name: 'postgres-restart',
  promise:
    'PostgreSQL restarted in immediate mode (a crash with recovery), again and again, loses nothing, and repeats only what was in flight.',
  instances: 2,
  repeats: 'in flight',
  rules: { instanceTimeoutMs: 3_000 },
  async nemesis({ rest, random, faults, cluster }) {
    while (await rest(random.between(2_000, 8_000))) {
      // Mostly back before anybody is declared dead, sometimes long after.
      const downMs = random.chance(0.7) ? random.between(0, 500) : random.between(2_500, 5_000);
      await faults.during({ kind: 'restart of PostgreSQL', permits: 'repeats', note: `${downMs} ms down` }, () =>
        restartImmediately(cluster, downMs),
      );
    }
  },
};
