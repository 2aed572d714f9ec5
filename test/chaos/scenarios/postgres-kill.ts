import { killPostmaster } from '../faults/postgres.ts';
import type { Scenario } from '../scenario.ts';

export const postgresKill: Scenario = {
  name: 'postgres-kill',
  promise:
    'SIGKILL of the postmaster, whose children go on for a moment without it, loses nothing, and repeats only what was in flight.',
  instances: 2,
  repeats: 'in flight',
  rules: { instanceTimeoutMs: 3_000 },
  async available() {
    return process.platform === 'linux' ? null : 'it looks into /proc for the children of the postmaster';
  },
  async nemesis({ rest, random, faults, cluster }) {
    while (await rest(random.between(2_000, 8_000))) {
      await faults.during({ kind: 'kill of the postmaster', permits: 'repeats' }, () => killPostmaster(cluster));
    }
  },
};
