import { beforeEach, describe, expect, test } from 'vitest';
import { brief, createCaptureDatabase } from './support.ts';

/** The law: whatever has become of the table, the rule or the log, the writer's transaction goes on. */

const database = await createCaptureDatabase('changed_tables');
const everything = ['insert', 'update', 'delete', 'truncate'] as const;

beforeEach(async () => {
  await database.query('drop schema if exists shop cascade; create schema shop');
  await database.query(`create table shop.t (id int primary key, v text, total numeric, secret text)`);
  await database.observe({ t: 'shop.t' });
  await database.takeEvents();
});

async function writeAll() {
  await database.query('update shop.t set id = id + 10');
  await database.query('delete from shop.t');
}

describe('columns after apply', () => {
  test('one was dropped before apply: nothing is confused', async () => {
    await database.query('alter table shop.t drop column v');
    await database.observe({ t: { table: 'shop.t', where: 'total > 0', tenant: 'secret' } });
    await database.query(`insert into shop.t values (1, 2.50, 's')`);
    await writeAll();
    const events = await database.takeEvents();
    expect(events.map((e) => [e.key, e.tenant, e.fault])).toEqual([
      ['1', 's', null],
      ['11', 's', null],
      ['11', 's', null],
    ]);
    expect(events[1]).toMatchObject({
      old: '{"id": 1, "total": 2.50, "secret": "s"}',
      new: '{"id": 11, "total": 2.50, "secret": "s"}',
    });
  });

  test('added: in the image, without a new apply', async () => {
    await database.query('alter table shop.t add column extra int default 7');
    await database.query(`insert into shop.t values (1, 'a')`);
    expect(await database.takeEvents()).toMatchObject([
      { key: '1', new: '{"v": "a", "id": 1, "extra": 7, "total": null, "secret": null}', fault: null },
    ]);
  });

  test('added, and holding what jsonb can not', async () => {
    await database.query('alter table shop.t add column doc json');
    await database.query(`insert into shop.t (id, doc) values (1, '"\\u0000"')`);
    const [event] = await database.takeEvents();
    expect(event).toMatchObject({ key: '1', fault: null });
    expect(event?.new).toContain('$truncated');
  });

  test.each(['read committed', 'repeatable read'])(
    'altered behind a session that knows it well, %s',
    async (isolation) => {
      const pool = database.pool({ max: 1 });
      const writer = await pool.connect();
      const write = (columns: string, values: string) =>
        writer.query(`insert into shop.t (${columns}) values (${values})`);
      for (let id = 1; id <= 10; id++) await write('id', `${id}`);
      await database.takeEvents();
      await writer.query(`begin isolation level ${isolation}`);
      await writer.query('select count(*) from pg_class');
      await database.query('alter table shop.t add column doc json, drop column total');
      await write('id, doc', `11, '"\\u0000"'`);
      await writer.query('commit');
      await write('id, doc', `12, '"\\u0000"'`);
      writer.release();
      await pool.end();
      const events = await database.takeEvents();
      expect(events.map((e) => e.new)).toEqual([
        expect.stringContaining('$truncated'),
        expect.stringContaining('$truncated'),
      ]);
      expect(events.map((e) => e.fault)).toEqual([expect.stringContaining('total'), expect.stringContaining('total')]);
    },
  );

  test.each([
    ['dropped', 'alter table shop.t drop column total', 'total', '{"v": "a", "id": 1, "secret": "s"}'],
    ['renamed', 'alter table shop.t rename column v to w', 'v', '{"w": "a", "id": 1, "total": 1, "secret": "s"}'],
    [
      'of another type',
      'alter table shop.t alter total type json using to_json(total)',
      'total',
      '{"v": "a", "id": 1, "total": 1, "secret": "s"}',
    ],
  ])('%s: captured as it is, and marked', async (_, change, column, image) => {
    await database.query(`insert into shop.t values (1, 'a', 1, 's')`);
    await database.takeEvents();
    await database.query(change);
    const fault = `dropped, renamed or of another type since apply: ${column}`;
    await writeAll();
    const moved = image.replace('"id": 1,', '"id": 11,');
    expect(await database.takeEvents()).toMatchObject([
      { operation: 'update', key: '11', old: image, new: moved, fault },
      { operation: 'delete', key: '11', old: moved, fault },
    ]);
    // Drift, found and mended.
    expect(
      (await database.plan({ t: 'shop.t' })).map((s) => s.replace(/^replace function observers."capture_t_/, '')),
    ).toEqual(['insert', 'update', 'delete'].map((op) => `${op}": the rule or the table changed`));
    await database.observe({ t: 'shop.t' });
    await database.query(`insert into shop.t (id) values (5)`);
    expect(await database.takeEvents()).toMatchObject([{ key: '5', fault: null }]);
  });

  test('retyped to json, which then holds what jsonb can not', async () => {
    await database.query('alter table shop.t alter total type json using to_json(total)');
    await database.query(`insert into shop.t (id, total) values (1, '"\\u0000"')`);
    expect(await database.takeEvents()).toMatchObject([
      { operation: 'insert', new: expect.stringContaining('$truncated') },
    ]);
  });

  test('the key column is gone', async () => {
    await database.query('alter table shop.t drop column id');
    await database.query(`insert into shop.t values ('a')`);
    expect(await database.takeEvents()).toMatchObject([
      { key: null, new: '{"v": "a", "total": null, "secret": null}' },
    ]);
  });

  test('`columns` leaves the others out in all of these cases', async () => {
    const sources = { t: { table: 'shop.t', columns: ['id', 'v'], where: 'length(secret) > 0 and secret::int > 0' } };
    await database.observe(sources);
    await database.query(`insert into shop.t values (1, 'a', 1, 'hush')`);
    await database.query('alter table shop.t add column more int');
    await database.query(`insert into shop.t values (2, 'a', 1, 'hush')`);
    await database.query('alter table shop.t drop column total');
    await database.query(`insert into shop.t values (3, 'a', 'hush')`);
    await writeAll();
    const { rows } = await database.query<{ n: string; event: string }>(
      'select e::text as event from observers.events e',
    );
    expect(rows).toHaveLength(9);
    expect(rows.filter((row) => row.event.includes('hush'))).toEqual([]);
    expect(rows.filter((row) => row.event.includes('where: SQLSTATE 22P02'))).toHaveLength(2);
    expect((await database.takeEvents()).map((e) => e.new ?? e.old)).toContain('{"v": "a", "id": 3}');
  });

  test('a table that is renamed goes on being captured; the plan says what it misses', async () => {
    await database.query('alter table shop.t rename to "T2"');
    await database.query('insert into shop."T2" (id) values (1)');
    expect(await database.takeEvents()).toMatchObject([{ operation: 'insert', key: '1', fault: null }]);
    await expect(database.plan({ t: 'shop.t' })).rejects.toThrow(
      'config:5:5  source t: there is no table shop.t in this database  (did you mean shop.T2?)',
    );
  });

  test('a table that is dropped takes its triggers along; the other sources are untouched', async () => {
    await database.query('create table shop.u (id int primary key)');
    await database.observe({ t: 'shop.t', u: 'shop.u' });
    await database.query('drop table shop.t');
    await expect(database.observe({ t: 'shop.t', u: 'shop.u' })).rejects.toThrow('there is no table shop.t');
    await database.query('insert into shop.u values (1)');
    expect(await database.takeEvents()).toMatchObject([{ source: 'u' }]);
  });
});

describe('where', () => {
  const observe = (where: string) => database.observe({ t: { table: 'shop.t', operations: [...everything], where } });

  test('bare columns, new and old, in every operation', async () => {
    await observe('total > 10 and (new.total is distinct from old.total)');
    await database.query(`insert into shop.t values (1, 'a', 5), (2, 'b', 50), (3, 'c', null)`);
    await database.query(`update shop.t set v = 'same'`);
    await database.query(`update shop.t set total = 60 where id in (1, 2)`);
    await database.query(`delete from shop.t where id <> 3`);
    await database.query('truncate shop.t');
    expect((await database.takeEvents()).map((e) => [e.operation, e.key])).toEqual([
      ['insert', '2'],
      ['update', '1'],
      ['update', '2'],
      ['delete', '1'],
      ['delete', '2'],
      ['truncate', null],
    ]);
  });

  test('old.x alone', async () => {
    await observe(`old.v = 'a'`);
    await database.query(`insert into shop.t values (1, 'a'), (2, 'b')`);
    await database.query(`update shop.t set v = 'a'`);
    await database.query(`update shop.t set v = 'c'`);
    await database.query('delete from shop.t');
    expect(brief(await database.takeEvents()).map((line) => line.slice(0, 8))).toEqual([
      'update 1',
      'update 1',
      'update 2',
    ]);
  });

  test('a sub-query and a function of the user’s own', async () => {
    await database.query(`create table shop.vip (id int); insert into shop.vip values (2);
      create function shop.is_vip(who int) returns boolean language sql as 'select exists (select from shop.vip v where v.id = who)'`);
    await observe('shop.is_vip(id) and exists (select from shop.vip where vip.id = new.id)');
    await database.query('insert into shop.t (id) values (1), (2), (3)');
    expect((await database.takeEvents()).map((e) => e.key)).toEqual(['2']);
  });

  test('an error at run time: the writer goes on, and all rows of the statement are captured and marked', async () => {
    await observe('100 / total > 1');
    await database.query(`insert into shop.t (id, total) values (1, 5), (2, 500)`);
    await database.query(`insert into shop.t (id, total) values (3, 0), (4, 500)`);
    await writeAll();
    expect((await database.takeEvents()).map((e) => [e.operation, e.key, e.fault])).toEqual([
      ['insert', '1', null],
      ['insert', '3', 'where: division by zero'],
      ['insert', '4', 'where: division by zero'],
      ...['update', 'delete'].flatMap((op) => ['11', '12', '13', '14'].map((k) => [op, k, 'where: division by zero'])),
    ]);
  });

  test('twenty thousand rows are not twenty thousand times twenty thousand comparisons', {
    timeout: 20_000,
  }, async () => {
    await observe('id % 2 = 0');
    const pool = database.pool({ max: 1 });
    // The plan of a session's first statements must do for the large one.
    for (let n = 1; n <= 8; n++) await pool.query('insert into shop.t (id) values ($1)', [-n]);
    await pool.query('insert into shop.t (id) select generate_series(1, 20000)');
    await pool.query('update shop.t set v = $$x$$ where id > 0');
    await pool.end();
    expect(await database.takeEvents()).toHaveLength(4 + 10_000 + 10_000);
  });
});

describe('the log', () => {
  test('the partition of today is missing', async () => {
    await database.query(`
      do $$ declare part text; begin
        for part in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
          where i.inhparent = 'observers.events'::regclass and c.relname <> 'events_default' loop
          execute format('drop table observers.%I', part);
        end loop; end $$`);
    await database.query(`insert into shop.t (id) values (1)`);
    expect(await database.takeEvents()).toHaveLength(1);
    await database.query('select observers.ensure_partitions(3)');
  });

  test('a statement’s events share one time, and their uids differ and carry it', async () => {
    await database.query('insert into shop.t (id) select generate_series(1, 1000)');
    const { rows } = await database.query(`
      select count(distinct uid)::int as uids, count(distinct created_at)::int as times,
             bool_and(uid::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') as v7,
             bool_and(('x' || replace(substr(uid::text, 1, 13), '-', ''))::bit(48)::bigint
                      = floor(extract(epoch from created_at) * 1000)) as timed
      from observers.events`);
    expect(rows).toEqual([{ uids: 1000, times: 1, v7: true, timed: true }]);
    await database.takeEvents();
  });
});
