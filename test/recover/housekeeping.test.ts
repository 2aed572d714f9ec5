import { expect, test } from 'vitest';
import { keepHouse } from '../../src/transport/postgres/housekeeping.ts';
import { enforceRetention } from '../../src/transport/postgres/retention.ts';
import { readRoutingLag } from '../../src/transport/postgres/status.ts';
import { emit, emitMany, eventually, migrated, receiver, rules, run } from '../deliver/fixture.ts';
import { dropped, partitions, pastDay, pastEvent, routed, week } from './days.ts';

test('makes the coming days, once', async () => {
  const database = await migrated('ahead');
  const pool = database.pool();
  const { rows } = await database.query<{ name: string }>(
    `select 'events_' || to_char((now() at time zone 'UTC')::date + 3, 'YYYYMMDD') as name`,
  );
  await database.query(`drop table observers.${rows[0]?.name}`);
  expect(await partitions(database, 'events')).toHaveLength(4);
  expect(await keepHouse(pool, week)).toEqual({ refused: [] });
  expect(await partitions(database, 'events')).toContain(rows[0]?.name);
  const both = await Promise.all([keepHouse(pool, week), keepHouse(pool, week)]);
  expect(both).toEqual(Array(2).fill({ refused: [] }));
});

test('drops a day past retention when its events are routed and nothing of it is pending, not before', async () => {
  const database = await migrated('expiry');
  const pool = database.pool();
  const old = await pastDay(database, 9);
  const kept = await pastDay(database, 6);
  const history = await pastDay(database, 9, 'attempts');
  await pastEvent(database, 9);
  expect(await dropped(pool)).toEqual([history]);
  await routed(database);
  await database.query(
    `insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, state, rule_version)
     select id, created_at, uid, 'o', 'a', 'd', 'ready', 'v' from observers.events`,
  );
  expect(await dropped(pool)).toEqual([]);
  await database.query('delete from observers.deliveries');
  expect(await dropped(pool)).toEqual([old]);
  expect(await partitions(database, 'events')).toContain(kept);
});

test('an event of a transaction that is still open keeps its day', async () => {
  const database = await migrated('open_day');
  const pool = database.pool();
  const old = await pastDay(database, 9);
  const writer = await database.pool().connect();
  await writer.query('begin');
  await writer.query(
    `insert into observers.events (source, operation, payload, created_at)
     values ('orders', 'emit', '{}', (current_date - 9 + time '12:00') at time zone 'UTC')`,
  );
  await routed(database);
  // The lock is waited for a fifth of a second: other writers are held up no longer than that.
  expect(await dropped(pool)).toEqual([]);
  await writer.query('commit');
  writer.release();
  expect(await dropped(pool)).toEqual([]);
  await routed(database);
  expect(await dropped(pool)).toEqual([old]);
});

test('an event that commits while the lock on its day is waited for keeps that day', async () => {
  const database = await migrated('late_commit');
  const old = await pastDay(database, 9);
  const writer = await database.pool().connect();
  await writer.query('begin');
  await writer.query(
    `insert into observers.events (source, operation, payload, created_at)
     values ('orders', 'emit', '{}', (current_date - 9 + time '12:00') at time zone 'UTC')`,
  );
  await routed(database);
  const keeping = dropped(database.pool());
  const waits = `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`;
  await eventually('the wait for the lock', async () => (await database.query(waits)).rowCount === 1);
  await writer.query('commit');
  writer.release();
  expect(await keeping).toEqual([]);
  expect(await partitions(database, 'events')).toContain(old);
});

test('an old transaction that wrote no event does not keep a day', async () => {
  const database = await migrated('old_xid');
  const pool = database.pool();
  const old = await pastDay(database, 9);
  const holder = await database.pool().connect();
  await holder.query('begin');
  await holder.query('select pg_current_xact_id()');
  await pastEvent(database, 9);
  await routed(database);
  expect(await dropped(pool)).toEqual([old]);
  await holder.query('rollback');
  holder.release();
});

test('trims dedupe keys, however many', async () => {
  const database = await migrated('dedupe');
  await database.query(
    `insert into observers.dedupe_keys (topic, dedupe_key, event_uid, created_at)
     select 't', n::text, gen_random_uuid(), now() - case when n <= 25000 then interval '8 days' else interval '6 days' end
     from generate_series(1, 25010) n`,
  );
  await keepHouse(database.pool(), week);
  const { rows } = await database.query('select count(*)::int as n from observers.dedupe_keys');
  expect(rows).toEqual([{ n: 10 }]);
});

test('a role that may not do it says what is missing, and does what it may', async () => {
  const database = await migrated('no_ddl');
  await database.query(`
    do $$ begin create role house_guest; exception when duplicate_object then null; end $$;
    grant usage on schema observers to house_guest;
    grant select, insert, update, delete on all tables in schema observers to house_guest;
    grant execute on all functions in schema observers to house_guest`);
  const { rows } = await database.query<{ name: string }>(
    `select 'events_' || to_char((now() at time zone 'UTC')::date + 3, 'YYYYMMDD') as name`,
  );
  await database.query(`drop table observers.${rows[0]?.name}`);
  await database.query(
    "insert into observers.dedupe_keys values ('t', 'k', gen_random_uuid(), now() - interval '8 days')",
  );
  const guest = database.pool({ options: '-c role=house_guest' });
  const { refused } = await keepHouse(guest, week);
  const old = await pastDay(database, 9);
  const { steps, complaints } = await enforceRetention(guest, { policy: week, archive: null });
  expect(steps).toMatchObject([{ partition: old, result: 'failed' }]);
  expect(complaints).toEqual([
    `${old} can't be dropped: this role may not: run \`pg-observers apply\` and \`run\` as the owner of the schema observers`,
  ]);
  expect(refused).toEqual([expect.stringMatching(/^this role may not make the partitions of the coming days: run /)]);
  expect((await database.query('select from observers.dedupe_keys')).rowCount).toBe(0);
});

test('status counts what is there', async () => {
  const database = await migrated('status');
  const hook = await receiver({
    // Slow, so that nothing is claimed ahead.
    respond: ({ body }) =>
      body.includes('"hang"') ? { misbehave: 'hang-before-headers' } : { status: 500, delayMs: 200 },
  });
  const { engine } = await run(
    rules(database.url, {
      destinations: {
        hook: { webhook: { url: hook.url }, concurrency: 2, retry: { initial: '1h', jitter: 'none', max: '1h' } },
      },
      observers: { all: { source: 'orders', order_by: 'key', actions: [{ webhook: 'hook' }] } },
      settings: { instance_timeout: '1h' },
    }),
  );
  const idle = await eventually(
    'the place of the router in the table',
    async () => {
      const status = await engine.status();
      return status.instances[0]?.routing === true && status;
    },
    2_000,
  );
  expect(idle).toMatchObject({ queue: [], dead_letters: 0, checkpoint: { lag_events: 0, lag_ms: null } });
  expect(idle.instances).toMatchObject([{ id: idle.instance.id, pid: process.pid, routing: true }]);
  await emitMany(database, 1, 3, "'one'");
  await eventually('a failure', async () => (await engine.status()).queue[0]?.retrying === 1);
  await emit(database, { n: 'hang' });
  await emit(database, { n: 'hang' });
  await hook.received.waitFor(3);
  await emitMany(database, 7, 8);
  await eventually('two waiting', async () => (await engine.status()).queue[0]?.ready === 2);
  const { queue, destinations } = await engine.status();
  expect(queue).toEqual([
    {
      destination: 'hook',
      ready: 2,
      claimed: 2,
      retrying: 1,
      blocked: 2,
      estimated: false,
      oldest_ms: expect.any(Number),
      last_error: expect.stringMatching(/answered 500/),
    },
  ]);
  expect(destinations).toEqual([
    { name: 'hook', kind: 'webhook', state: 'enabled', in_flight: 2, waiting: 0, breaker: 'closed' },
  ]);
  await engine.stop({ timeoutMs: 0 });
  await emitMany(database, 9, 20);
  await database.query(
    "update observers.events set created_at = created_at - interval '1 minute' where payload @> '{\"n\": 9}'",
  );
  const lag = await readRoutingLag(database.pool());
  expect(lag.lagEvents).toBe(12);
  expect(lag.lagMs).toBeGreaterThan(60_000);
});
