import type { Scenario } from '../scenario.ts';

export const terminate: Scenario = {
  name: 'terminate',
  promise:
    'With every database session of every instance ended once a second, nothing is lost and, as no instance is ever silent for long, nothing is repeated.',
  instances: 3,
  repeats: 'none',
  rules: { instanceTimeoutMs: 15_000 },
  async nemesis({ rest, faults, cluster }) {
    while (await rest(1_000)) {
      await faults.during({ kind: 'terminate', permits: 'nothing' }, () =>
        cluster.query(
          `select count(pg_terminate_backend(pid)) from pg_stat_activity
           where datname = current_database() and application_name like 'pg-observers%'`,
        ),
      );
    }
  },
};
