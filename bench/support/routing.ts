/** A log of real change events, and a `Router` in this process that decides about all of them. */
import { type ConfigInput, defineConfig } from '../../src/index.ts';
import { Router } from '../../src/pipeline/decide/router.ts';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';
import { applyCapture } from '../../src/transport/postgres/capture-plan.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { isTransient } from '../../src/transport/postgres/failures.ts';
import { openRoutingSession } from '../../src/transport/postgres/routing-session.ts';
import type { BenchDatabase } from './cluster.ts';

export type Observers = NonNullable<ConfigInput['observers']>;

export const observer = (when: string): Observers[string] => ({
  source: 'orders',
  when,
  actions: [{ webhook: 'http://127.0.0.1:9/' }],
});

function configOf(database: BenchDatabase, observers: Observers) {
  const sources = { orders: { table: 'public.orders' } };
  return defineConfig({ version: 1, database: database.url, sources, observers }, { env: {} });
}

export const rulesOf = (database: BenchDatabase, observers: Observers): RuleIndex =>
  new RuleIndex(configOf(database, observers));

/** Updates of orders, open → paid, of tenants 1 to 1,000; each image is about 300 bytes. */
export async function fillLog(database: BenchDatabase, events: number): Promise<void> {
  await database.query('create table public.orders (id bigint primary key)');
  const pool = createPool(database.url, 2);
  await applyCapture(pool, configOf(database, {})).finally(() => pool.end());
  const image = (status: string) => `jsonb_build_object(
    'id', n, 'tenant_id', n % 1000 + 1, 'status', '${status}', 'total', n % 5000 + 0.50, 'items', n % 7, 'priority', 'low',
    'email', 'customer' || n || '@example.org', 'note', 'please leave it at the door', 'warehouse', 'north',
    'created_at', '2026-11-20T12:00:00.123456+00:00', 'updated_at', clock_timestamp())`;
  await database.query(
    `insert into observers.events (source, operation, table_schema, table_name, key, old, new)
     select 'orders', 'update', 'public', 'orders', n::text, ${image('open')}, ${image('paid')} from generate_series(1, $1::int) n`,
    [events],
  );
  await database.query('vacuum analyze observers.events');
}

export interface Cost {
  /** Events per second. */
  readonly rate: number;
  /** Processor time of this process per event, in µs: what a busy machine does not falsify. */
  readonly processor: number;
}

async function costOf(events: number, work: () => Promise<void>): Promise<Cost> {
  const before = process.cpuUsage();
  const began = performance.now();
  await work();
  const tookMs = performance.now() - began;
  const { user, system } = process.cpuUsage(before);
  return { rate: events / (tookMs / 1_000), processor: (user + system) / events };
}

/** The whole log once more, from the first event to the last. */
export async function route(database: BenchDatabase, rules: RuleIndex, events: number): Promise<Cost> {
  await database.query('truncate observers.deliveries');
  await database.query(
    "update observers.checkpoints set snapshot = '3:3:', target = null, after_id = 0, version = version + 1",
  );
  return costOf(events, () => routed(database, rules, events));
}

function routed(database: BenchDatabase, rules: RuleIndex, events: number): Promise<void> {
  let left = events;
  return new Promise((resolve, reject) => {
    const router: Router = new Router({
      openSession: () => openRoutingSession(database.url),
      rules: () => rules,
      pollIntervalMs: () => 1_000,
      reserve: () => null,
      onDeliveries: () => {},
      isTransient,
      telemetry: (told) => {
        if (told.type === 'stage.failed') reject(told.error);
        if (told.type !== 'events.routed') return;
        left -= told.events.length;
        if (left <= 0) router.stop().then(resolve, reject);
      },
    });
    router.start();
  });
}

/** Nothing but the rows: every column of the log by pages of 1,000, and JSON.parse of both images. */
export async function decode(database: BenchDatabase, events: number): Promise<Cost> {
  const client = await database.connect();
  const text = `select id::text as event_id, uid::text, source, operation, table_schema, table_name, key, tenant, old::text, new::text,
                       payload::text, context::text, created_at::text
                from observers.events where id > $1 order by id limit 1000`;
  let seen = 0;
  const cost = await costOf(events, async () => {
    for (let after = '0'; seen < events; ) {
      const { rows } = await client.query<Record<string, string>>({ name: 'decode', text, values: [after] });
      if (rows.length === 0) throw new Error(`${seen} of ${events} events were decoded`);
      for (const row of rows) seen += JSON.parse(row.new ?? '').id === JSON.parse(row.old ?? '').id ? 1 : 0;
      after = rows.at(-1)?.event_id ?? after;
    }
  });
  await client.end();
  return cost;
}

export async function deliveriesIn(database: BenchDatabase): Promise<number> {
  const { rows } = await database.query<{ n: number }>('select count(*)::int as n from observers.deliveries');
  return rows[0]?.n ?? Number.NaN;
}
