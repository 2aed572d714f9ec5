/** Whose checkpoint it is: another cluster, another environment, and how a person resolves it. */

import { expect, test } from 'vitest';
import { UserError } from '../../src/domain/errors.ts';
import { openRoutingSession } from '../../src/transport/postgres/routing-session.ts';
import type { TestDatabase } from '../support/database.ts';
import { drain, hotRules, hotTable, openSession, prepare, startRouter, until } from './support.ts';

const update = 'update public.hot set v = v + 1 where id <= $1';
const keys = (events: readonly { key: string | null }[]) => events.map(({ key }) => key);

/** As after dump and restore into a cluster whose transaction ids have not come as far. */
async function transplant(database: TestDatabase): Promise<void> {
  await database.query(
    "update observers.checkpoints set system_identifier = 1, snapshot = '900000000:900000000:', version = 7",
  );
  await database.query("update observers.events set xid = '900000100'");
}

test('in another cluster it refuses and says how to go on', async () => {
  const { database } = await prepare('checkpoint_cluster', hotTable, hotRules(false));
  await transplant(database);
  const opening = openRoutingSession(database.url);
  await expect(opening).rejects.toThrow(UserError);
  await expect(opening).rejects.toThrow(
    /another cluster.*`pg-observers checkpoint reset --to <time\|event-id\|now>`.*--xids-preserved`/s,
  );
});

test('reset_checkpoint() routes only what is captured from then on', async () => {
  const { database, rules } = await prepare('checkpoint_reset', hotTable, hotRules(false));
  await database.query(update, [3]);
  await transplant(database);
  await database.query('select observers.reset_checkpoint()');
  const session = await openSession(database.url);
  expect(await drain(session, rules)).toEqual([]);
  await database.query(update, [2]);
  expect(keys(await drain(session, rules))).toEqual(['1', '2']);
});

test('reset_checkpoint(after_event) also routes what comes after that event', async () => {
  const { database, rules } = await prepare('checkpoint_after', hotTable, hotRules(false));
  await database.query(update, [5]);
  await transplant(database);
  const { rows } = await database.query<{ id: string }>("select id::text from observers.events where key = '3'");
  await database.query('select observers.reset_checkpoint(after_event => $1)', [rows[0]?.id]);
  const session = await openSession(database.url);
  expect(keys(await drain(session, rules))).toEqual(['4', '5']);
  await database.query(update, [1]);
  expect(keys(await drain(session, rules))).toEqual(['1']);
});

test('a running router takes up a reset: the version has grown', async () => {
  const prepared = await prepare('checkpoint_running', hotTable, hotRules(false));
  const { database } = prepared;
  const { routed } = startRouter(prepared);
  await database.query(update, [3]);
  await until('they are routed', () => routed.size === 3);
  await database.query('delete from observers.deliveries');
  await database.query('select observers.reset_checkpoint(after_event => 0)');
  await until('they are routed again', async () => {
    const { rows } = await database.query<{ count: number }>('select count(*)::int as count from observers.deliveries');
    return rows[0]?.count === 3;
  });
});

test('a database without environment is adopted, one of another environment is refused until it is adopted by hand', async () => {
  const { database } = await prepare('checkpoint_environment', hotTable, hotRules(false));
  await (await openSession(database.url, { environment: 'production' })).close();
  await (await openSession(database.url, { environment: 'production' })).close();
  await (await openSession(database.url)).close();
  const opening = openRoutingSession(database.url, { environment: "o'staging" });
  await expect(opening).rejects.toThrow(UserError);
  const message = await opening.catch((error: Error) => error.message);
  expect(message).toContain('"production"');
  const adopt = /`(update [^`]+)`/.exec(String(message))?.[1];
  await database.query(adopt ?? '');
  await (await openSession(database.url, { environment: "o'staging" })).close();
  await expect(openRoutingSession(database.url, { environment: 'production' })).rejects.toThrow(UserError);
});

test('without its row it says so', async () => {
  const { database } = await prepare('checkpoint_lost', hotTable, hotRules(false));
  await database.query('delete from observers.checkpoints');
  await expect(openRoutingSession(database.url)).rejects.toThrow(/lost its row/);
});
