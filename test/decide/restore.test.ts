/** A database restored into another cluster, whose transaction ids have come less far, or further; and after pg_upgrade. */

import { spawnSync } from 'node:child_process';
import pg from 'pg';
import { afterAll, expect, inject, onTestFinished, test } from 'vitest';
import { defineConfig } from '../../src/config/index.ts';
import { UserError } from '../../src/domain/errors.ts';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';
import {
  adoptCluster,
  previewReset,
  reportCheckpoint,
  resetCheckpoint,
  targetByTime,
  targetByUid,
} from '../../src/transport/postgres/checkpoint-reset.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { openRoutingSession } from '../../src/transport/postgres/routing-session.ts';
import { startServer } from '../support/server.ts';
import { apply, drain, hotRules, hotTable, openSession, prepare, startRouter, until } from './support.ts';

const young = await startServer();
afterAll(() => young.stop());
const update = 'update public.hot set v = v + 1 where id between $1 and $2';
const keys = (events: readonly { key: string | null }[]) => events.map(({ key }) => key);

interface Place {
  readonly url: string;
  readonly pool: pg.Pool;
}

let databases = 0;

/** A new database on this server. */
async function databaseOn(server: string): Promise<Place> {
  databases += 1;
  const name = `restore_${process.pid}_${databases}`;
  const url = new URL(server);
  url.pathname = `/${name}`;
  const admin = new pg.Client(server);
  await admin.connect();
  await admin.query(`create database ${name}`);
  const pool = createPool(url.href, 2);
  onTestFinished(async () => {
    await pool.end();
    await admin.query(`drop database ${name} with (force)`);
    await admin.end();
  });
  return { url: url.href, pool };
}

const configOn = ({ url }: Place) => defineConfig({ version: 1, database: url, ...hotRules(false) }, { env: {} });

async function burnTransactions(pool: pg.Pool, count: number): Promise<void> {
  await pool.query(`do $$ begin for i in 1..${count} loop perform pg_current_xact_id(); commit; end loop; end $$`);
}

/** pg_dump | psql where they are and know the server; else row by row, which comes to the same. */
async function dumpAndRestore(from: Place, to: Place): Promise<void> {
  const dump = spawnSync('pg_dump', ['--no-owner', from.url], { encoding: 'utf8', maxBuffer: 1e9 });
  if (dump.status === 0) {
    const restored = spawnSync('psql', ['-q', '-v', 'ON_ERROR_STOP=1', to.url], {
      input: dump.stdout,
      encoding: 'utf8',
    });
    if (restored.status !== 0) throw new Error(restored.stderr);
    return;
  }
  await to.pool.query(hotTable.replace(/insert.*/s, ''));
  await apply(configOn(to));
  for (const table of ['public.hot', 'observers.checkpoints', 'observers.events', 'observers.deliveries']) {
    const { rows } = await from.pool.query<{ row: string }>(`select row_to_json(t)::text as row from ${table} t`);
    const client = await to.pool.connect();
    await client.query("set session_replication_role = 'replica'");
    await client.query(`truncate ${table}`);
    for (const { row } of rows) {
      await client.query(
        `insert into ${table} overriding system value select * from json_populate_record(null::${table}, $1)`,
        [row],
      );
    }
    await client.query('reset session_replication_role');
    client.release();
  }
  for (const [table, sequence] of [
    ['events', 'observers.events_id_seq'],
    ['deliveries', 'observers.deliveries_id_seq'],
  ])
    await to.pool.query(`select setval($1::regclass, (select max(id) from observers.${table}))`, [sequence]);
}

/** Keys 1 to 3 are routed, 4 and 5 are not; then dumped and restored. */
async function restored(fromServer: string, toServer: string): Promise<Place & { rules: RuleIndex }> {
  const from = await databaseOn(fromServer);
  await from.pool.query(hotTable);
  await apply(configOn(from));
  if (fromServer !== young.url) await burnTransactions(from.pool, 3_000);
  const rules = new RuleIndex(configOn(from));
  const session = await openSession(from.url);
  await from.pool.query(update, [1, 3]);
  expect(await drain(session, rules)).toHaveLength(3);
  await session.close();
  await from.pool.query(update, [4, 5]);
  const to = await databaseOn(toServer);
  if (toServer !== young.url) await burnTransactions(to.pool, 3_000);
  await dumpAndRestore(from, to);
  return { ...to, rules };
}

const directions = [
  ['less far', inject('postgresUrl'), young.url],
  ['further', young.url, inject('postgresUrl')],
] as const;

test.each(directions)(
  'restored into a cluster whose transaction ids have come %s: refused until the checkpoint is reset, then nothing is lost or repeated',
  async (_, fromServer, toServer) => {
    const { url, pool, rules } = await restored(fromServer, toServer);
    const opening = openRoutingSession(url);
    await expect(opening).rejects.toThrow(UserError);
    await expect(opening).rejects.toThrow(
      /another cluster.*`pg-observers checkpoint reset --to <time\|event-id\|now>`/s,
    );
    expect(await reportCheckpoint(pool)).toMatchObject({ same_cluster: false });

    await pool.query(update, [6, 6]);
    const { rows } = await pool.query<{ id: string }>("select id::text from observers.events where key = '3'");
    const target = { afterEvent: rows[0]?.id ?? '' };
    expect(await previewReset(pool, target)).toMatchObject({ same_cluster: false, to_route: 3 });
    await resetCheckpoint(pool, target);
    const session = await openSession(url);
    expect(keys(await drain(session, rules))).toEqual(['4', '5', '6']);
    // Also when the transaction ids here come to where those of the dump were.
    const { rows: foreign } = await pool.query(
      'select from observers.events where not pg_visible_in_snapshot(xid, pg_current_snapshot())',
    );
    expect(foreign).toEqual([]);
    await pool.query(update, [7, 8]);
    expect(keys(await drain(session, rules))).toEqual(['7', '8']);
    expect(await reportCheckpoint(pool)).toMatchObject({ same_cluster: true, lag_events: 0, oldest_unrouted: null });
  },
  60_000,
);

test('restored and reset to now: only what is captured from then on is routed', async () => {
  const { url, pool, rules } = await restored(inject('postgresUrl'), young.url);
  expect(await resetCheckpoint(pool, { afterEvent: null })).toMatchObject({ to_route: 0 });
  const session = await openSession(url);
  expect(await drain(session, rules)).toEqual([]);
  await pool.query(update, [9, 9]);
  expect(keys(await drain(session, rules))).toEqual(['9']);
});

test('after pg_upgrade, which keeps transaction ids, only the new identifier is adopted; where they were not kept it is refused', async () => {
  const { database, rules } = await prepare('restore_upgrade', hotTable, hotRules(false));
  const pool = createPool(database.url, 2);
  onTestFinished(() => pool.end());
  const session = await openSession(database.url);
  await database.query(update, [1, 2]);
  await drain(session, rules);
  await session.close();
  await database.query(update, [3, 3]);
  expect(await adoptCluster(pool)).toBe(false);
  await database.query('update observers.checkpoints set system_identifier = 1');
  await expect(openRoutingSession(database.url)).rejects.toThrow('checkpoint reset --xids-preserved');
  expect(await adoptCluster(pool)).toBe(true);
  expect(keys(await drain(await openSession(database.url), rules))).toEqual(['3']);
  await database.query("update observers.checkpoints set system_identifier = 1, snapshot = '900000000:900000000:'");
  await expect(adoptCluster(pool)).rejects.toThrow('not preserved');
});

test('reset by id, uid and time counts what it does beforehand, and a quiet router takes it up by itself', async () => {
  const prepared = await prepare('restore_reset', hotTable, hotRules(false));
  const { database } = prepared;
  const pool = createPool(database.url, 2);
  onTestFinished(() => pool.end());
  await startRouter(prepared);
  const routed = (count: number) =>
    until(`${count} deliveries`, async () => {
      const { rows } = await database.query<{ n: number }>('select count(*)::int as n from observers.deliveries');
      return rows[0]?.n === count;
    });
  for (let key = 1; key <= 4; key++) await database.query(update, [key, key]);
  await routed(4);
  const { rows } = await database.query<{ id: string; uid: string; ms: number }>(
    'select id::text, uid::text, extract(epoch from created_at)::float8 * 1000 as ms from observers.events order by id',
  );
  const [first, second, third] = rows;
  if (first === undefined || second === undefined || third === undefined) throw new Error('no events');
  const after = (event: { id: string }) => ({ afterEvent: event.id });
  expect(await targetByUid(pool, second.uid)).toEqual(after(second));
  expect(await targetByTime(pool, (second.ms + third.ms) / 2)).toEqual(after(second));
  expect(await targetByTime(pool, Date.now() + 3_600_000)).toEqual({ afterEvent: null });
  await expect(targetByUid(pool, '00000000-0000-7000-8000-000000000000')).rejects.toThrow('no event');

  expect(await previewReset(pool, after(first))).toMatchObject({ to_route: 3, again: 3, skipped: 0, queued: 4 });
  await routed(4);
  await resetCheckpoint(pool, after(first));
  // Nothing else happens in this database: the router has to notice that.
  await routed(7);
  expect(await previewReset(pool, { afterEvent: null })).toMatchObject({ to_route: 0, again: 0, skipped: 0 });
});

test('the report names the transactions whose events wait for them, prepared ones too, and the oldest event that waits', async () => {
  const { database } = await prepare('restore_report', hotTable, hotRules(false));
  const pool = createPool(database.url, 2);
  const writer = await pool.connect();
  onTestFinished(async () => {
    writer.release();
    await pool.end();
  });
  await database.query(update, [1, 1]);
  await database.query("begin; update public.hot set v = 7 where id = 3; prepare transaction 'long gone'");
  onTestFinished(() => database.query("rollback prepared 'long gone'").then(() => {}));
  await writer.query('begin');
  await writer.query(update, [2, 2]);
  const { rows } = await writer.query<{ pid: number }>('select pg_backend_pid() as pid');
  let report = await reportCheckpoint(pool);
  await until('it is open for a while', async () => {
    report = await reportCheckpoint(pool);
    return report.held_back_by.length === 2;
  });
  expect(report.held_back_by).toContainEqual(expect.objectContaining({ pid: rows[0]?.pid, gid: null }));
  expect(report.held_back_by).toContainEqual(expect.objectContaining({ pid: null, gid: 'long gone' }));
  expect(report).toMatchObject({ lag_events: 1, oldest_unrouted: { source: 'hot', operation: 'update' } });
  await writer.query('rollback');
});
