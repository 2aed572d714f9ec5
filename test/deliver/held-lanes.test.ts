/** Ordered lanes whose dead head blocks them: held, freed by every way out, and never overtaken. */

import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import type { ObserverInput } from '../../src/config/input.ts';
import type { WebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { discardDeadLetter, listDeadLetters, showDeadLetter } from '../../src/transport/postgres/dead-letters.ts';
import { readDatabaseStatus } from '../../src/transport/postgres/status.ts';
import type { TestDatabase } from '../support/database.ts';
import { count, drained, emitMany, eventually, migrated, numberOf, receiver, rules, run } from './fixture.ts';

/** A receiver that refuses what is in `broken`, and two engines whose rule blocks lanes. */
async function blocking(label: string, broken: Set<number>) {
  const database = await migrated(label);
  const hooks = await receiver({ respond: (request) => ({ status: broken.has(numberOf(request)) ? 400 : 204 }) });
  const config = rules(database.url, {
    destinations: { hook: { webhook: { url: hooks.url } } },
    observers: {
      all: { source: 'orders', order_by: { expression: 'key', on_dead: 'block' }, actions: [{ webhook: 'hook' }] },
    },
  });
  await Promise.all([run(config), run(config)]);
  return { database, hooks, broken };
}

const arrived = (hooks: WebhookReceiver) => hooks.received.entries.map(numberOf);

const held = (database: TestDatabase, behind: number) =>
  eventually(`a lane holds ${behind} back`, async () => {
    const { rows } = await database.query(
      `select from observers.lanes l where held and pending = $1
         and $1 = (select count(*) from observers.deliveries d where d.ordering_key = l.ordering_key and state = 'blocked')`,
      [behind],
    );
    return rows.length === 1;
  });

const replay = (database: TestDatabase) => database.query('select observers.replay(id) from observers.dead_letters');

test('a dead head holds its lane, and no other; its replay goes ahead of what waited, and of what came since', async () => {
  const { database, hooks, broken } = await blocking('held', new Set([2]));
  await emitMany(database, 1, 5, "'a'");
  await emitMany(database, 11, 13, "'b'");
  await held(database, 3);
  await eventually('the other lane', () => arrived(hooks).includes(13));
  await emitMany(database, 6, 7, "'a'");
  await held(database, 5);
  expect(arrived(hooks).filter((n) => n < 10)).toEqual([1, 2]);
  expect(arrived(hooks).filter((n) => n > 10)).toEqual([11, 12, 13]);

  // A replay that fails leaves the lane as it is.
  await replay(database);
  await eventually('the failed replay', async () => (await count(database, 'dead_letters', 'attempts = 2')) === 1);
  await held(database, 5);
  broken.clear();
  await replay(database);
  await drained(database, 10);
  expect(arrived(hooks).filter((n) => n < 10)).toEqual([1, 2, 2, 2, 3, 4, 5, 6, 7]);
  expect([await count(database, 'lanes'), await count(database, 'dead_letters')]).toEqual([0, 0]);
});

const discards: readonly (readonly [string, (database: TestDatabase) => Promise<unknown>])[] = [
  [
    'dlq discard',
    async (database) => {
      const pool = createPool(database.url, 1);
      onTestFinished(() => pool.end());
      const [letter] = await listDeadLetters(pool, {});
      expect(await discardDeadLetter(pool, letter?.id ?? '')).toBe('discarded');
    },
  ],
  ['plain SQL', (database) => database.query('delete from observers.dead_letters')],
  ['plain SQL of a role that may delete dead letters and nothing else', deleteAsClerk],
  ['truncate', (database) => database.query('truncate observers.dead_letters, observers.replays')],
];

test.each(discards)('discarding by %s frees the lane at once', async (_, discard) => {
  const { database, hooks } = await blocking('discard', new Set([1]));
  await emitMany(database, 1, 4, "'a'");
  await held(database, 3);
  // The engines of the fixture poll every 30 s: without a wake-up this test times out.
  await discard(database);
  await drained(database, 4, 10_000);
  expect(arrived(hooks)).toEqual([1, 2, 3, 4]);
  expect(await count(database, 'lanes')).toBe(0);
});

async function deleteAsClerk(database: TestDatabase): Promise<void> {
  const role = `clerk_${randomUUID().slice(0, 8)}`;
  await database.query(`create role ${role} login password 'x'; grant usage on schema observers to ${role};
    grant select, delete on observers.dead_letters to ${role}`);
  onTestFinished(() => database.query(`drop owned by ${role}; drop role ${role}`).then(() => {}));
  const url = new URL(database.url);
  url.username = role;
  url.password = 'x';
  const clerk = new pg.Client(url.href);
  await clerk.connect();
  await clerk.query('delete from observers.dead_letters');
  await clerk.end();
}

test('a dead letter with nothing behind it holds what comes later; discarded, it leaves no lane behind', async () => {
  const { database, hooks } = await blocking('held_empty', new Set([1, 2]));
  await emitMany(database, 1, 1, "'a'");
  await held(database, 0);
  await database.query('delete from observers.dead_letters');
  expect(await count(database, 'lanes')).toBe(0);
  await emitMany(database, 2, 3, "'a'");
  await held(database, 1);
  await database.query('delete from observers.dead_letters');
  await drained(database, 3);
  expect(arrived(hooks)).toEqual([1, 2, 3]);
});

test('status and dead letters say which lane waits for which, and how many wait in it', async () => {
  const { database } = await blocking('held_status', new Set([1]));
  await emitMany(database, 1, 4, "'a'");
  await held(database, 3);
  const pool = createPool(database.url, 1);
  onTestFinished(() => pool.end());
  const [letter] = await listDeadLetters(pool, {});
  expect(letter).toMatchObject({ holds_lane: true, ordering_key: 'a' });
  expect(await showDeadLetter(pool, letter?.id ?? '')).toMatchObject({ holds_lane: true, waiting: 3 });
  expect((await readDatabaseStatus(pool)).held_lanes).toEqual([
    {
      destination: 'hook',
      ordering_key: 'a',
      pending: 3,
      dead_letter: letter?.id,
      observer: 'all',
      died_at: letter?.died_at,
    },
  ]);
  const { rows } = await database.query('select lanes_held::int from observers.status');
  expect(rows).toEqual([{ lanes_held: 1 }]);
});

test('after a reload from block to skip the next dead head is skipped, and what is held stays held', async () => {
  const database = await migrated('held_reload');
  const hooks = await receiver({ respond: (request) => ({ status: numberOf(request) % 10 === 1 ? 400 : 204 }) });
  const ordered = (order_by: ObserverInput['order_by']) =>
    rules(database.url, {
      destinations: { hook: { webhook: { url: hooks.url } } },
      observers: { all: { source: 'orders', order_by: order_by ?? 'key', actions: [{ webhook: 'hook' }] } },
    });
  const { engine } = await run(ordered({ expression: 'key', on_dead: 'block' }));
  await emitMany(database, 1, 2, "'a'");
  await held(database, 1);
  await engine.reload(ordered('key'));
  await emitMany(database, 11, 12, "'b'");
  await eventually('the next of the other lane', () => arrived(hooks).includes(12));
  await held(database, 1);
  expect(arrived(hooks)).toEqual([1, 11, 12]);
});
