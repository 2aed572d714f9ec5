/** `pg-observers backfill`: existing rows as `read` events, beside writers. */

import { expect, onTestFinished, test } from 'vitest';
import type { TableSource } from '../../src/domain/rules.ts';
import {
  type Backfill,
  type BackfillRequested,
  beginBackfill,
  readBackfill,
  readBackfillTable,
  writeChunk,
} from '../../src/transport/postgres/backfills.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { prepare, type Rules } from '../decide/support.ts';

type SourceInput = Rules['sources'][string];

async function prepared(label: string, tables: string, source: SourceInput) {
  const rules: Rules = {
    sources: { things: source },
    observers: { all: { source: 'things', on: ['read'], actions: [{ webhook: 'http://127.0.0.1:9/x' }] } },
  };
  const { database, config } = await prepare(label, tables, rules);
  const pool = createPool(database.url, 3);
  onTestFinished(() => pool.end());
  const things = config.sources.get('things') as TableSource;
  const shape = () => readBackfillTable(pool, null, things);
  const begin = async (requested: Partial<BackfillRequested> = {}) =>
    beginBackfill(pool, things, await shape(), { condition: null, perSecond: null, ...requested });
  const next = async (run: Backfill, most: number) => writeChunk(pool, things, await shape(), run, most);
  const all = async (most: number, requested: Partial<BackfillRequested> = {}) => {
    let run: Backfill | null = await begin(requested);
    while (run !== null && run.finished_at === null) run = await next(run, most);
    return run;
  };
  const events = async <T extends Record<string, unknown>>(columns: string) =>
    (await database.query<T>(`select ${columns} from observers.events order by id`)).rows;
  return { database, pool, things, shape, begin, next, all, events };
}

test('10,000 rows while a writer updates them: each is read once, in the order of the key, and no change is lost', async () => {
  const { database, all, events } = await prepared(
    'backfill_writer',
    'create table public.things (id bigint primary key, v integer not null default 0);' +
      'insert into public.things select n from generate_series(1, 10000) n',
    { table: 'public.things' },
  );
  let writing = true;
  let updates = 0;
  const writer = (async () => {
    for (; writing || updates < 50; updates++)
      await database.query('update public.things set v = v + 1 where id = $1', [1 + ((updates * 7919) % 10_000)]);
  })();
  expect(await all(500)).toMatchObject({ rows: '10000', events: '10000' });
  writing = false;
  await writer;
  const rows = await events<{ operation: string; key: string; v: number }>("operation, key, (new ->> 'v')::int as v");
  const read = rows.filter(({ operation }) => operation === 'read');
  expect(read.map(({ key }) => Number(key))).toEqual(Array.from({ length: 10_000 }, (_, i) => i + 1));
  expect(rows).toHaveLength(10_000 + updates);
  // What was read and what came later, together, is the table.
  const last = new Map<string, number>();
  for (const { key, v } of rows) last.set(key, Math.max(v, last.get(key) ?? 0));
  const { rows: table } = await database.query<{ id: string; v: number }>('select id::text, v from public.things');
  expect(new Map(table.map(({ id, v }) => [id, v]))).toEqual(last);
});

test('a writer is not held up, nor does a row lock hold up the backfill', async () => {
  const { database, all } = await prepared(
    'backfill_locks',
    'create table public.things (id integer primary key); insert into public.things select n from generate_series(1, 10) n',
    { table: 'public.things' },
  );
  const holder = await database.pool().connect();
  await holder.query('begin; update public.things set id = id where id <= 5');
  expect(await all(3)).toMatchObject({ events: '10' });
  await holder.query('commit');
  holder.release();
});

test('images, keys and tenants are those that a trigger makes', async () => {
  const { database, all, events } = await prepared(
    'backfill_images',
    `create type public.mood as enum ('ok', 'sad');
     create table public.things (a public.mood, b text, n numeric(40,2), secret text, at timestamptz, raw bytea, t text,
       doc json, primary key (a, b))`,
    { table: 'public.things', columns: ['a', 'b', 'n', 'at', 'raw', 'doc'], where: "new.b <> 'skip'", tenant: 't' },
  );
  await database.query(`insert into public.things values
    ('sad', 'x"y', 12345678901234567890.10, 'hush', '2026-01-01 00:00+02', '\\x00ff', 'acme', '{"a": "\\u0000"}'),
    ('ok', 'z', null, 'hush', null, null, null, null), ('ok', 'skip', 1, 'hush', null, null, null, null)`);
  expect(await all(1)).toMatchObject({ rows: '3', events: '2' });
  const rows = await events<{ operation: string; key: string; tenant: string | null; new: unknown; old: unknown }>(
    "operation, key, tenant, new::text as new, old, table_schema || '.' || table_name as of",
  );
  const [inserted, read] = ['insert', 'read'].map((wanted) => rows.filter(({ operation }) => operation === wanted));
  const strip = (list: typeof rows = []) =>
    list.map(({ operation: _, ...rest }) => rest).toSorted((x, y) => (x.key < y.key ? -1 : 1));
  expect(strip(read)).toEqual(strip(inserted));
  // In the order of the key, which begins with an enum.
  expect(read?.map(({ key }) => key)).toEqual(['["ok", "z"]', '["sad", "x\\"y"]']);
});

test('it goes on where it stopped; who comes second with the same place writes nothing', async () => {
  const { pool, begin, next, all, events } = await prepared(
    'backfill_resume',
    'create table public.things (id integer primary key); insert into public.things select n from generate_series(1, 25) n',
    { table: 'public.things' },
  );
  const first = await next(await begin(), 10);
  expect(first).toMatchObject({ rows: '10', cursor: ['10'], finished_at: null });
  const stored = await readBackfill(pool, 'things');
  expect(stored).toEqual(first);
  if (stored === null) throw new Error('it is stored');
  const [one, other] = await Promise.all([next(stored, 10), next(stored, 10)]);
  expect([one, other].filter((run) => run === null)).toHaveLength(1);
  expect(await next(one ?? other ?? stored, 10)).toMatchObject({ rows: '25', finished_at: expect.anything() });
  expect((await events<{ key: string }>('key')).map(({ key }) => Number(key))).toEqual(
    Array.from({ length: 25 }, (_, i) => i + 1),
  );
  expect(await all(7, { condition: 'id % 5 = 0 -- every fifth' })).toMatchObject({ rows: '5', events: '5' });
});

test('without a primary key it is refused; a wrong condition says so and writes nothing', async () => {
  const none = await prepared('backfill_no_key', 'create table public.things (id integer)', { table: 'public.things' });
  await expect(none.shape()).rejects.toThrow('public.things has no primary key');
  const { all, events } = await prepared(
    'backfill_wrong',
    'create table public.things (id integer primary key); insert into public.things values (1), (0)',
    { table: 'public.things' },
  );
  await expect(all(10, { condition: 'idd > 1' })).rejects.toThrow('column "idd" does not exist');
  await expect(all(10, { condition: '1 / id > 0' })).rejects.toThrow('division by zero');
  expect(await events('id')).toEqual([]);
});
