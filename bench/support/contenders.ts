/** Those that do the whole job: a changed row ends in a signed POST, acknowledged durably. Each has a table of its own. */

import { type Child, startChild } from './child.ts';
import type { BenchDatabase } from './cluster.ts';
import { columns, rowsSql } from './orders.ts';
import { secret } from './receiver.ts';
import { type Rival, startRival, versionOf } from './rivals.ts';
import { apply, type Rules, startSidecar } from './sidecar.ts';

export interface Contender {
  readonly name: string;
  readonly role: 'ours' | 'rival';
  /** Where a writer writes. */
  readonly table: string;
  /** Its schema, its table, its trigger. Once. */
  install(): Promise<void>;
  /** Forgets everything, and has so many rows waiting, as its trigger would have left them. */
  backlog(rows: number): Promise<void>;
  start(options: StartOptions): Promise<Child & { readonly startedInMs?: number }>;
  /** Whether nothing is left to do: everything acknowledged, durably. */
  idle(): Promise<boolean>;
}

export interface StartOptions {
  readonly target: string;
  /** POSTs in flight at once. */
  readonly concurrency: number;
  /** Set up for a full queue, or for a quick answer. */
  readonly tuned: 'throughput' | 'latency';
  readonly nodeFlags?: readonly string[];
}

export function ours(database: BenchDatabase): Contender {
  const rules = (options: StartOptions | null): Rules => ({
    version: 1,
    database: database.url,
    sources: { orders: { table: 'orders', operations: ['insert'] } },
    destinations: {
      hook: {
        webhook: { url: options?.target ?? 'http://127.0.0.1:9', secret },
        concurrency: options?.concurrency ?? 1,
      },
    },
    observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
  });
  return {
    name: 'pg-observers',
    role: 'ours',
    table: 'public.orders',
    install: async () => {
      await database.query(`create table public.orders (${columns})`);
      await apply(rules(null));
    },
    backlog: async (rows) => {
      await database.query(`truncate public.orders, observers.events, observers.deliveries, observers.attempts`);
      if (rows === 0) return;
      await database.query(`insert into public.orders ${rowsSql}`, [1, rows]);
      await database.query('vacuum analyze observers.events, observers.deliveries');
    },
    start: (options) => startSidecar(rules(options), options.nodeFlags),
    idle: async () => {
      // Of the events all are routed once their deliveries were seen, and the caller has seen them arrive.
      const { rowCount } = await database.query('select from observers.deliveries limit 1');
      return rowCount === 0;
    },
  };
}

export function graphileWorker(database: BenchDatabase): Contender {
  const start = rivalStarter('graphile-worker', database);
  return {
    name: `graphile-worker ${versionOf('graphile-worker')}`,
    role: 'rival',
    table: 'public.graphile_orders',
    install: async () => {
      await runOnce(start);
      // The recipe of its documentation.
      await database.query(`
        create table public.graphile_orders (${columns});
        create function public.graphile_capture() returns trigger language plpgsql as
          $$ begin perform graphile_worker.add_job('deliver', row_to_json(new)); return null; end $$;
        create trigger capture after insert on public.graphile_orders for each row execute function public.graphile_capture()`);
    },
    backlog: async (rows) => {
      await database.query('truncate graphile_worker._private_jobs');
      // Not through the trigger: a job per row would take longer to queue than to drain (row 3 measures that).
      await database.query(
        `select count(*) from graphile_worker.add_jobs(array(
           select ('deliver', row_to_json(o), null, null, null, null, null, null)::graphile_worker.job_spec from (${rowsSql}) o))`,
        [1, rows],
      );
      await database.query('vacuum analyze graphile_worker._private_jobs');
    },
    start,
    idle: async () => {
      const { rowCount } = await database.query('select from graphile_worker._private_jobs limit 1');
      return rowCount === 0;
    },
  };
}

export function pgBoss(database: BenchDatabase): Contender {
  const start = rivalStarter('pg-boss', database);
  return {
    name: `pg-boss ${versionOf('pg-boss')}`,
    role: 'rival',
    table: 'public.boss_orders',
    install: async () => {
      await runOnce(start);
      // As its documentation does it from SQL, and with the notification that its own send() makes.
      await database.query(`
        create table public.boss_orders (${columns});
        create function public.boss_capture() returns trigger language plpgsql as $$
          begin
            insert into pgboss.job (name, data) values ('deliver', to_jsonb(new));
            perform pg_notify('pgboss_' || left(encode(sha224('pgboss'::bytea), 'hex'), 24), 'deliver');
            return null;
          end $$;
        create trigger capture after insert on public.boss_orders for each row execute function public.boss_capture()`);
    },
    backlog: async (rows) => {
      await database.query('truncate pgboss.job');
      await database.query(`insert into pgboss.job (name, data) select 'deliver', to_jsonb(o) from (${rowsSql}) o`, [
        1,
        rows,
      ]);
      await database.query('vacuum analyze pgboss.job');
    },
    start,
    idle: async () => {
      // Completed jobs stay for a week; what is not completed is found by its state.
      const { rowCount } = await database.query(`select from pgboss.job where state < 'completed' limit 1`);
      return rowCount === 0;
    },
  };
}

/** No contender, but what they are measured against: nothing waits, so it has no backlog. */
export function bareListener(database: BenchDatabase): Pick<Contender, 'name' | 'table' | 'install' | 'start'> {
  return {
    name: 'LISTEN → POST, nothing durable',
    table: 'public.bare_orders',
    install: async () => {
      await database.query(`
        create table public.bare_orders (${columns});
        create function public.bare_notify() returns trigger language plpgsql as $$
          begin perform pg_notify('bare_orders', json_build_object('key', new.id::text, 'new', new)::text); return null; end $$;
        create trigger capture after insert on public.bare_orders for each row execute function public.bare_notify()`);
    },
    start: async ({ target }) => {
      const script = new URL('bare-listener.ts', import.meta.url).pathname;
      const env = { DATABASE_URL: database.url, TARGET_URL: target, CHANNEL: 'bare_orders' };
      return (await startChild(process.execPath, ['--import', 'tsx', script], /^ready/, env)).child;
    },
  };
}

type Starter = (options: StartOptions) => Promise<Child>;

function rivalStarter(rival: Rival, database: BenchDatabase): Starter {
  return ({ target, concurrency, tuned }) =>
    startRival(rival, {
      DATABASE_URL: database.url,
      TARGET_URL: target,
      WEBHOOK_SECRET: secret,
      CONCURRENCY: String(concurrency),
      TUNED: tuned,
    });
}

/** Both make their schema when they start. */
async function runOnce(start: Starter): Promise<void> {
  const child = await start({ target: 'http://127.0.0.1:9', concurrency: 1, tuned: 'throughput' });
  await child.stop();
}
