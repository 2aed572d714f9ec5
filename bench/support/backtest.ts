/** A log for `backtest`, and rules to hold against it. */
import type { BenchDatabase } from './cluster.ts';
import type { Rules } from './sidecar.ts';

/** A third each: what every event is evaluated for, what most events are decided by one column of, and what an index finds. */
const conditions: readonly ((n: number) => string)[] = [
  (n) => `"status" in changed && new.status == "paid" && new.total > ${9_000 + n}`,
  (n) => `new.customer == "customer-${n}@example.com"`,
  (n) => `new.total > ${9_900 + n}`,
];

export function rulesOf(database: string, observers: number): Rules {
  const observer = (n: number) => ({
    source: 'orders',
    on: ['update' as const],
    when: conditions[n % conditions.length]?.(n) ?? 'true',
    actions: [{ webhook: 'hook' }],
  });
  return {
    version: 1,
    database,
    sources: { orders: { table: 'orders' } },
    destinations: { hook: { webhook: { url: 'http://127.0.0.1:9/' } } },
    observers: Object.fromEntries(Array.from({ length: observers }, (_, n) => [`observer-${n}`, observer(n)])),
  };
}

const eventsPerStatement = 100_000;

/** So many updates of orders within the last minutes, all routed: two images of about 300 bytes, one in ten delivered at the first attempt. */
export async function fillLog(database: BenchDatabase, events: number): Promise<void> {
  for (let done = 0; done < events; done += eventsPerStatement)
    await database.query(eventsSql, [done + 1, Math.min(events, done + eventsPerStatement)]);
  await database.query(attemptsSql);
  await database.query(
    'update observers.checkpoints set snapshot = pg_current_snapshot(), target = null, after_id = 0',
  );
  await database.query('vacuum analyze observers.events, observers.attempts');
}

const image = (status: string) => `
  jsonb_build_object('id', n, 'status', ${status}, 'total', n % 10000 + 0.50, 'customer', 'customer-' || n % 1000 || '@example.com',
    'created_at', '2026-11-21T12:00:00.123456+00:00', 'items', jsonb_build_array(n % 7, n % 11, n % 13), 'note', repeat('x', 140))`;

/** Orders $1 to $2; every other one turns paid. */
const eventsSql = `
  insert into observers.events (source, operation, table_schema, table_name, key, old, new, context)
  select 'orders', 'update', 'public', 'orders', n::text, ${image("'open'")}, ${image("case when n % 2 = 0 then 'paid' else 'sent' end")},
         '{"user": "app"}'
  from generate_series($1::int, $2::int) n`;

const attemptsSql = `
  insert into observers.attempts (delivery_id, event_id, event_uid, observer, action, destination, attempt, started_at, duration_ms, outcome, status)
  select e.id, e.id, e.uid, 'observer-' || (e.id % 3), 'hook', 'hook', 1, e.created_at, 5, 'delivered', 204
  from observers.events e where e.id % 10 = 0`;
