/** Dead letters of conditions, replayed through the Router; rules that change while it runs. */

import { expect, test } from 'vitest';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { createDeliveryQueue } from '../../src/transport/postgres/delivery-queue.ts';
import type { TestDatabase } from '../support/database.ts';
import { configOf, prepare, type Rules, startRouter, until } from './support.ts';

const url = 'http://127.0.0.1:9/x';
const sources: Rules['sources'] = { orders: { table: 'public.orders' }, signups: { topic: 'user.signup' } };
const table = 'create table public.orders (id integer primary key, total jsonb)';
const actions = [{ webhook: url }];
const always = { source: 'orders', actions };
const broken = { source: 'orders', when: 'new.total / 2 > 1', actions };

/** One fault of the observer `broken`, which has the action `webhook-1`, and a router whose rules the test may swap. */
async function faulty(label: string) {
  const prepared = await prepare(label, table, { sources, observers: { always, broken } });
  const { database } = prepared;
  let rules = prepared.rules;
  const started = startRouter(prepared, { rules: () => rules, pollIntervalMs: () => 10 });
  const swap = (observers: Rules['observers']) => {
    rules = new RuleIndex(configOf(database, { sources, observers }));
  };
  await database.query(`insert into public.orders values (1, '"many"')`);
  await until('the fault is a dead letter', async () => (await deadLetters(database)).length === 1);
  const replay = async ({ told = true } = {}) => {
    await database.query('select observers.replay(id) from observers.dead_letters');
    if (told) started.router.wakeForReplays();
    await until('the replay is decided', async () => {
      const { rows } = await database.query<{ rest: number }>('select count(*)::int as rest from observers.replays');
      return rows[0]?.rest === 0;
    });
  };
  return { database, swap, replay, ...started };
}

test('a condition that fails is a dead letter of that observer; the others and the stream go on', async () => {
  const { database, told } = await faulty('replay_fault');
  await database.query("insert into public.orders values (2, '6')");
  await until('the stream goes on', async () => (await deliveries(database)).length === 3);
  expect(await deliveries(database)).toEqual([
    { key: '1', observer: 'always' },
    { key: '2', observer: 'always' },
    { key: '2', observer: 'broken' },
  ]);
  expect(await deadLetters(database)).toEqual([
    {
      observer: 'broken',
      action: null,
      reason: 'engine_fault',
      message: expect.stringContaining('new.total / 2 > 1'),
      replays: 0,
    },
  ]);
  expect(told.filter(({ type }) => type === 'decide.fault')).toHaveLength(1);
});

test('a look at a quiet log finds the replays that nobody told of', async () => {
  const { database, swap, replay } = await faulty('replay_untold');
  swap({ always, broken: always });
  await replay({ told: false });
  expect(await deadLetters(database)).toEqual([]);
});

test('replayed under a mended rule that fires, it is delivered and gone', async () => {
  const { database, swap, replay } = await faulty('replay_mended');
  swap({ always, broken: { ...broken, when: 'new.total == "many"' } });
  await replay();
  expect(await deadLetters(database)).toEqual([]);
  expect(await deliveries(database)).toContainEqual({ key: '1', observer: 'broken' });
});

test('under one that no longer matches, it is gone', async () => {
  const { database, swap, replay } = await faulty('replay_other');
  swap({ always, broken: { ...broken, when: 'new.total == "few"' } });
  await replay();
  expect(await deadLetters(database)).toEqual([]);
  expect(await deliveries(database)).toEqual([{ key: '1', observer: 'always' }]);
});

test('still broken, it stays with what is wrong now, and counts its replays', async () => {
  const { database, swap, replay } = await faulty('replay_broken');
  swap({ always, broken: { ...broken, when: 'new.total / 3 > 1' } });
  await replay();
  await replay();
  expect(await deadLetters(database)).toMatchObject([
    { message: expect.stringContaining('new.total / 3 > 1'), replays: 2 },
  ]);
});

test('of a rule that is gone, it stays and says so', async () => {
  const { database, swap, replay } = await faulty('replay_gone');
  swap({ always });
  await replay();
  expect(await deadLetters(database)).toMatchObject([
    { message: expect.stringContaining('no observer "broken" any more'), replays: 1 },
  ]);
});

test('its event comes back from the dead letter when retention dropped it, and is not routed again', async () => {
  const { database, swap, replay } = await faulty('replay_retained');
  await database.query('insert into public.orders values (2, \'"few"\')');
  await until('another one', async () => (await deadLetters(database)).length === 2);
  const before = await storedEvents(database);
  await database.query('delete from observers.deliveries');
  await database.query('delete from observers.events');
  swap({ always, broken: { ...broken, when: 'new.total in ["many", "few"]' } });
  await replay();
  expect(await deliveries(database)).toEqual([
    { key: '1', observer: 'broken' },
    { key: '2', observer: 'broken' },
  ]);
  expect(await storedEvents(database)).toEqual(before);
  const pool = createPool(database.url, 1);
  const queue = createDeliveryQueue({ durable: pool, claims: pool }, '00000000-0000-4000-8000-000000000001');
  const { claimed } = await queue.claim([{ destination: url, slots: 10 }]);
  expect(claimed.map(({ event }) => event?.new)).toEqual(['{"id": 1, "total": "many"}', '{"id": 2, "total": "few"}']);
  await pool.end();
});

test('an emitted message is routed under the name of its source', async () => {
  const observers: Rules['observers'] = { all: { source: 'signups', when: 'event.source == "signups"', actions } };
  const prepared = await prepare('replay_topic', table, { sources, observers });
  const seen: string[] = [];
  startRouter(prepared, {
    telemetry: (event) => {
      if (event.type === 'events.routed') seen.push(...event.events.map(({ record }) => record.source));
    },
  });
  await prepared.database.query(`select observers.emit('user.signup', '{"user": 7}', key => 'u7')`);
  await until('it is routed', () => seen.length === 1);
  expect(seen).toEqual(['signups']);
  expect(await deliveries(prepared.database)).toEqual([{ key: 'u7', observer: 'all' }]);
});

test('new rules hold from the next slice on, whole', async () => {
  const prepared = await prepare('replay_reload', table, { sources, observers: { always } });
  const { database } = prepared;
  const other = new RuleIndex(configOf(database, { sources, observers: { next: always, last: always } }));
  let rules = prepared.rules;
  await database.query("insert into public.orders select n, '1' from generate_series(1, 7) n");
  startRouter(prepared, {
    session: { pages: { eventsPerSlice: 3 } },
    rules: () => rules,
    // The first slice is committed.
    onDeliveries: () => {
      rules = other;
    },
  });
  await until('all are routed', async () => (await deliveries(database)).length === 11);
  const by = (await deliveries(database)).map(({ observer }) => observer);
  expect(by.slice(0, 3)).toEqual(['always', 'always', 'always']);
  expect(by.slice(3)).toEqual(['next', 'last', 'next', 'last', 'next', 'last', 'next', 'last']);
});

test.each([
  ['a key longer than an index entry', `repeat(md5(random()::text), 300)`],
  ['a key of 600 bytes in other letters', `repeat('ключ', 75)`],
])('%s is ordered by', async (_, key) => {
  const observers: Rules['observers'] = { all: { source: 'signups', order_by: 'event.key', actions } };
  const prepared = await prepare('replay_long_key', table, { sources, observers });
  const { database } = prepared;
  await database.query(
    `select observers.emit('user.signup', '1', key => k), observers.emit('user.signup', '2', key => k) from (select ${key} as k) k`,
  );
  const { told } = startRouter(prepared);
  await until('both are routed', async () => (await deliveries(database)).length === 2);
  const { rows } = await database.query('select state from observers.deliveries order by id');
  expect(rows).toEqual([{ state: 'ready' }, { state: 'blocked' }]);
  expect(told.filter(({ type }) => type === 'stage.failed')).toEqual([]);
});

test('a key with U+0000, which PostgreSQL can not store, does not hold up the log', async () => {
  const observers: Rules['observers'] = { all: { source: 'orders', order_by: '"a\\u0000b"', actions } };
  const prepared = await prepare('replay_nul_key', table, { sources, observers });
  await prepared.database.query("insert into public.orders values (1, '1')");
  startRouter(prepared);
  await until('it is routed', async () => (await deliveries(prepared.database)).length === 1);
});

test('a router whose checkpoint another one moved gives up its session and goes on with a new one', async () => {
  const prepared = await prepare('replay_moved', table, { sources, observers: { always } });
  const { database } = prepared;
  const { told, routed } = startRouter(prepared);
  await until('it routes', () => told.some(({ type }) => type === 'routing.acquired'));
  // At once: a look at a quiet log in between would notice, and need no new session.
  await database.query(
    "update observers.checkpoints set version = version + 10; insert into public.orders values (1, '1')",
  );
  await until('it is routed', () => routed.size === 1);
  expect(told.map(({ type }) => type)).toEqual(['routing.acquired', 'routing.lost', 'routing.acquired']);
});

async function deadLetters(database: TestDatabase) {
  const { rows } = await database.query<{
    observer: string;
    action: string | null;
    reason: string;
    message: string;
    replays: number;
  }>('select observer, action, reason, error_message as message, replays from observers.dead_letters order by id');
  return rows;
}

async function deliveries(database: TestDatabase) {
  const { rows } = await database.query<{ key: string; observer: string }>(
    `select coalesce(e.key, k.event ->> 'key') as key, d.observer from observers.deliveries d
     left join observers.events e on e.id = d.event_id left join observers.dead_letters k on k.id = d.dead_letter_id order by d.id`,
  );
  return rows;
}

async function storedEvents(database: TestDatabase) {
  const { rows } = await database.query(
    'select id::text, uid, source, operation, table_schema, table_name, key, tenant, old, new, payload, context, created_at::text from observers.events order by id',
  );
  return rows;
}
