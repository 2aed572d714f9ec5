import { type PgBouncer, startPgBouncer, whyNoPgBouncer } from '../faults/pgbouncer.ts';
import type { Scenario } from '../scenario.ts';

let bouncer: PgBouncer | null = null;

export const pgbouncer: Scenario = {
  name: 'pgbouncer',
  promise:
    'Behind PgBouncer in transaction mode, with sessions direct, nothing is lost and only what was in flight repeats, also when PgBouncer dies and when the server ends its sessions.',
  instances: 3,
  repeats: 'in flight',
  rules: { instanceTimeoutMs: 3_000 },
  available: whyNoPgBouncer,
  async prepare({ cluster, directory }) {
    const started = await startPgBouncer(cluster.url, directory);
    bouncer = started;
    return {
      databaseUrl: started.through(cluster.url),
      instance: () => ({ env: { PG_OBSERVERS_DIRECT_DATABASE: cluster.url } }),
      close: () => started.stop(),
    };
  },
  async nemesis({ rest, random, faults, cluster, fleet }) {
    const died = () =>
      faults.during({ kind: 'kill of PgBouncer', permits: 'repeats' }, async () => {
        await bouncer?.restart();
        await rest(1_000);
      });
    const ended = () =>
      faults.during({ kind: 'terminate', permits: 'nothing' }, async () => {
        await cluster.query(
          `select count(pg_terminate_backend(pid)) from pg_stat_activity
           where datname = current_database() and application_name like 'pg-observers%'`,
        );
      });
    const killed = () => fleet.kill(random.pick(fleet.instances));
    while (await rest(random.between(1_000, 5_000))) await random.pick([died, ended, ended, killed])();
  },
  async verify({ cluster }) {
    const { rows } = await cluster.query<{ routed: boolean }>('select count(*) > 0 as routed from observers.attempts');
    return rows[0]?.routed === true ? [] : ['nothing went through PgBouncer'];
  },
};
