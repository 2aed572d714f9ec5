import { beforeEach, describe, expect, test } from 'vitest';
import { createCaptureDatabase } from './support.ts';

const database = await createCaptureDatabase('values');
await database.query(`
  create schema kinds;
  create type kinds.mood as enum ('sad', 'très gai');
  create type kinds.point3 as (x int, y numeric, note text);
  create domain kinds.email as text check (value like '%@%');
  create type kinds.floats as range (subtype = float8);
  create table kinds.one (id int primary key, v text)`);
const { rows } = await database.query<{ n: number }>(`select current_setting('server_version_num')::int as n`);
const serverVersion = rows[0]?.n ?? 0;

beforeEach(async () => {
  await database.query('drop table if exists kinds.one, kinds.two');
});

/** Type, value in SQL, and its JSON in the event. */
const exact: [type: string, sql: string, json: string][] = [
  ['bigint', '9007199254740993', '9007199254740993'],
  ['bigint', '-9223372036854775808', '-9223372036854775808'],
  ['numeric', '123456789012345678901234567890', '123456789012345678901234567890'],
  ['numeric', '0.123456789012345678901234567890', '0.123456789012345678901234567890'],
  ['numeric(10,2)', '100', '100.00'],
  ['numeric', "'NaN'", '"NaN"'],
  ['numeric', "'Infinity'", '"Infinity"'],
  ['numeric', "'-Infinity'", '"-Infinity"'],
  ['float8', '0.1::float8 + 0.2', '0.30000000000000004'],
  ['float8', "'NaN'", '"NaN"'],
  ['float8', "'-Infinity'", '"-Infinity"'],
  ['float8', '1e300', `1${'0'.repeat(300)}`],
  ['float4', '1.1', '1.1'],
  ['boolean', 'true', 'true'],
  ['text', "''", '""'],
  ['text', "'emoji 🐘 and \\ \" and\n'", '"emoji 🐘 and \\\\ \\" and\\n"'],
  ['text', 'null', 'null'],
  ['varchar(5)', "'ab'", '"ab"'],
  ['char(5)', "'ab'", '"ab   "'],
  ['"char"', "'x'", '"x"'],
  ['name', "'x'", '"x"'],
  ['bytea', "'\\x00ff5c'", '"\\\\x00ff5c"'],
  ['bytea', "''", '"\\\\x"'],
  ['int[]', "'{1,null,3}'", '[1, null, 3]'],
  ['int[]', "'{}'", '[]'],
  ['text[]', `array['a,b', 'c"d', null]`, '["a,b", "c\\"d", null]'],
  ['numeric[]', "'{{1.50,2},{3,NaN}}'", '[[1.50, 2], [3, "NaN"]]'],
  ['bigint[]', "'{9007199254740993}'", '[9007199254740993]'],
  ['int4range', "'[1,5]'", '"[1,6)"'],
  ['numrange', "'(1.50,]'", '"(1.50,)"'],
  ['tstzrange', "'[2026-01-01 00:00+02,)'", '"[\\"2025-12-31 22:00:00+00\\",)"'],
  ['int4range', "'empty'", '"empty"'],
  ['int4multirange', "'{[1,2],[5,9)}'", '"{[1,3),[5,9)}"'],
  ['kinds.floats', "'[1.5,2.5]'", '"[1.5,2.5]"'],
  ['kinds.point3', `(1, 2.50, 'a "b"')`, '{"x": 1, "y": 2.50, "note": "a \\"b\\""}'],
  ['kinds.point3[]', `array[(1, 2.50, null)::kinds.point3]`, '[{"x": 1, "y": 2.50, "note": null}]'],
  ['kinds.mood', "'très gai'", '"très gai"'],
  ['kinds.email', "'a@example.com'", '"a@example.com"'],
  ['interval', "'1 year 2 mons -3 days 04:05:06.789'", '"1 year 2 mons -3 days +04:05:06.789"'],
  ['money', "'1234.50'", '"$1,234.50"'],
  ['xml', "'<a>é</a>'", '"<a>é</a>"'],
  ['bit(5)', "b'10101'", '"10101"'],
  ['varbit', "b'1'", '"1"'],
  ['inet', "'10.0.0.1/8'", '"10.0.0.1/8"'],
  ['cidr', "'10.0.0.0/8'", '"10.0.0.0/8"'],
  ['macaddr', "'08:00:2b:01:02:03'", '"08:00:2b:01:02:03"'],
  ['uuid', "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'],
  ['date', "'infinity'", '"infinity"'],
  ['date', "'0044-03-15 BC'", '"0044-03-15 BC"'],
  ['timestamp', "'2026-11-20 12:00:00.123456'", '"2026-11-20T12:00:00.123456"'],
  ['timestamptz', "'2026-11-20 12:00:00.123456+05:30'", '"2026-11-20T06:30:00.123456+00:00"'],
  ['timestamptz', "'-infinity'", '"-infinity"'],
  ['timestamptz', "'0044-03-15 00:00:00+00 BC'", '"0044-03-15T00:00:00+00:00 BC"'],
  ['time', "'23:59:59.999999'", '"23:59:59.999999"'],
  ['timetz', "'12:00+02'", '"12:00:00+02"'],
  ['point', "'(1.5,2)'", '"(1.5,2)"'],
  ['tsvector', "'a:1 b:2'", `"'a':1 'b':2"`],
  ['regclass', "'pg_catalog.pg_class'", '"pg_class"'],
  ['jsonb', `'{"n": 12345678901234567890.10, "t": "\\\\u0000"}'`, '{"n": 12345678901234567890.10, "t": "\\\\u0000"}'],
  ['jsonb', "'null'", 'null'],
  ['json', `'{"n": 9007199254740993, "z": 1.00}'`, '{"n": 9007199254740993, "z": 1.00}'],
];

describe('a value in the event is the value of the row', () => {
  test.each(exact)('%s %s', async (type, sql, json) => {
    await database.query(`create table kinds.one (id int primary key, v ${type})`);
    await database.observe({ one: 'kinds.one' });
    await database.query(`insert into kinds.one values (1, ${sql})`);
    await database.query(`delete from kinds.one`);
    const [inserted, deleted] = await database.takeEvents();
    expect(inserted).toMatchObject({ operation: 'insert', new: `{"v": ${json}, "id": 1}`, fault: null });
    expect(deleted).toMatchObject({ operation: 'delete', old: `{"v": ${json}, "id": 1}`, fault: null });
  });

  test('a key is the text of the column, exactly', async () => {
    for (const [type, sql, key] of [
      ['bigint', '9007199254740993', '9007199254740993'],
      ['numeric', '100.00', '100.00'],
      ['text', `'a "b" é'`, 'a "b" é'],
      ['timestamptz', `'2026-01-01 00:00+02'`, '2025-12-31 22:00:00+00'],
      ['bytea', `'\\x01'`, '\\x01'],
    ] as const) {
      await database.query(`drop table if exists kinds.one; create table kinds.one (v ${type} primary key)`);
      await database.observe({ one: 'kinds.one' });
      await database.query(`insert into kinds.one values (${sql})`);
      expect(await database.takeEvents()).toMatchObject([{ key }]);
    }
  });
});

describe('what jsonb cannot hold', () => {
  test('json with \\u0000 becomes a marker, and the other columns are kept', async () => {
    await database.query('create table kinds.one (id int primary key, doc json, docs json[], v text)');
    await database.observe({ one: 'kinds.one' });
    await database.query(
      `insert into kinds.one values (1, '{"a": "\\u0000"}', array['1', '"\\u0000"']::json[], 'kept'), (2, '{"a": 1}', null, 'whole')`,
    );
    const [first, second] = await database.takeEvents();
    expect(JSON.parse(first?.new ?? '')).toEqual({
      id: 1,
      v: 'kept',
      doc: { $truncated: { type: 'json', reason: expect.stringContaining('Unicode') } },
      docs: { $truncated: { type: 'json[]', reason: expect.stringContaining('Unicode') } },
    });
    expect(second?.new).toBe('{"v": "whole", "id": 2, "doc": {"a": 1}, "docs": null}');
  });

  test('a number in json that no numeric holds', async () => {
    await database.query('create table kinds.one (id int primary key, doc json)');
    await database.observe({ one: 'kinds.one' });
    await database.query(`insert into kinds.one values (1, '1e200000')`);
    const [event] = await database.takeEvents();
    expect(event?.new).toContain('$truncated');
  });

  test('10 MB in a row come along; a bytea of 130 MB goes, and its row stays', async () => {
    await database.query('create table kinds.one (id int primary key, t text, b bytea, j jsonb)');
    await database.observe({ one: 'kinds.one' });
    await database.query(`insert into kinds.one values (1, repeat('0123456789', 1048576), '\\x00', '{}')`);
    const whole = await database.query<{ length: number; same: boolean }>(
      `select length(e.new ->> 't') as length, e.new ->> 't' = o.t as same from observers.events e, kinds.one o`,
    );
    expect(whole.rows).toEqual([{ length: 10_485_760, same: true }]);
    await database.takeEvents();

    await database.query(
      `insert into kinds.one values (2, 'kept', decode(repeat('00', 136314880), 'hex'), '{"a": 1}')`,
    );
    const [inserted] = await database.takeEvents();
    const marker = { $truncated: { type: 'bytea', reason: expect.stringContaining('too long') } };
    expect(JSON.parse(inserted?.new ?? '')).toEqual({ id: 2, t: 'kept', b: marker, j: { a: 1 } });
  });

  test('an array that is small where it is stored, compressed, and too large when read', async () => {
    await database.query('create table kinds.one (id int primary key, tags text[])');
    await database.query(`insert into kinds.one values (1, array[repeat('a', 140000000), repeat('b', 140000000)])`);
    await database.observe({ one: 'kinds.one' });
    await database.query('delete from kinds.one');
    const [deleted] = await database.takeEvents();
    expect(deleted).toMatchObject({ key: '1', fault: null });
    expect(JSON.parse(deleted?.old ?? '')).toMatchObject({ id: 1, tags: { $truncated: { type: 'text[]' } } });
  });
});

test('a table of 1,600 columns', async () => {
  const columns = Array.from({ length: 1599 }, (_, i) => `c${i} ${['int', 'text', 'json'][i % 3]}`);
  await database.query(`create table kinds.one (id int primary key, ${columns.join(', ')})`);
  await database.observe({ one: 'kinds.one' });
  await database.query(`insert into kinds.one (id, c0, c1, c1597, c1598) values (1, 7, 'a', '', '{"n": 1}')`);
  await database.query('update kinds.one set c0 = 8');
  const [inserted, updated] = await database.takeEvents();
  const image = JSON.parse(inserted?.new ?? '');
  expect(inserted?.fault).toBeNull();
  expect(Object.keys(image)).toHaveLength(1600);
  expect(image).toMatchObject({ id: 1, c0: 7, c1: 'a', c2: null, c1597: '', c1598: { n: 1 } });
  expect(JSON.parse(updated?.new ?? '')).toMatchObject({ c0: 8 });
});

describe('the writer’s session changes nothing', () => {
  const hostile = `
    set timezone = 'Asia/Kathmandu'; set datestyle = 'SQL, DMY'; set intervalstyle = 'iso_8601'; set bytea_output = 'escape';
    set extra_float_digits = -15; set lc_monetary = 'C'; set xmlbinary = 'hex'; set xmloption = 'document';
    set search_path = evil, pg_catalog; set standard_conforming_strings = off; set row_security = off; set jit = on;
    set jit_above_cost = 0; set enable_hashjoin = off; set enable_mergejoin = off; set default_transaction_isolation = 'serializable';
    set plan_cache_mode = force_custom_plan; set quote_all_identifiers = on; set array_nulls = off; set transform_null_equals = on;`;

  /** Types that depend on a setting each. */
  const sensitive = [
    ['timestamptz', `timestamptz '2026-02-01 03:04:05.6+00'`],
    ['timestamp', `timestamp '2026-02-01 03:04:05.6'`],
    ['date', `date '2026-02-01'`],
    ['interval', `interval '1 day 2 hours'`],
    ['bytea', `decode('00ff', 'hex')`],
    ['float8', '0.1::float8 + 0.2'],
    ['float4', '1.1::float4'],
    ['money', '12.50::money'],
    ['regclass', `'pg_catalog.pg_class'::regclass`],
    ['tstzrange', `tstzrange('2026-01-01 00:00+00', null)`],
  ] as const;

  test('the same row gives the same event, byte for byte', async () => {
    await database.query(`
      create table kinds.one (id int primary key, at timestamptz, d date, i interval, b bytea, f float8, f4 float4, m money, x xml,
        r tstzrange, c kinds.point3, k regclass, n numeric, a timestamptz[]);
      create schema if not exists evil;
      create or replace function evil.to_jsonb(anyelement) returns jsonb language sql as $$ select '"evil"'::jsonb $$`);
    await database.observe({ one: { table: 'kinds.one', where: 'id > 0 and at is not null', tenant: 'd' } });
    const write = (
      id: number,
    ) => `insert into kinds.one values (${id}, '2026-02-01 03:04:05.6+00', date '2026-02-01', interval '1 day 2 hours',
      decode('00ff', 'hex'), 0.1::float8 + 0.2, 1.1, '12.50', '<a/>', tstzrange('2026-01-01 00:00+00', null),
      row(1, 2, 'x')::kinds.point3, 'kinds.one', 'NaN', array[timestamptz '2026-01-01 00:00+00'])`;
    const pool = database.pool({ max: 1 });
    await pool.query(write(1));
    await pool.query('delete from kinds.one');
    const [plain, plainDelete] = await database.takeEvents();
    await pool.query(hostile);
    await pool.query(write(1));
    await pool.query('delete from kinds.one');
    await pool.end();
    const [twisted, twistedDelete] = await database.takeEvents();
    expect(plain).toMatchObject({ fault: null, tenant: '2026-02-01' });
    expect(plain?.new).toContain('"k": "kinds.one"');
    expect(twisted).toEqual(plain);
    expect(twistedDelete).toEqual(plainDelete);
  });

  test.each(sensitive)('%s: also in a column alone, and in one that was added since', async (type, value) => {
    await database.query(
      `create table kinds.one (id int primary key, v ${type}); create table kinds.two (v ${type} primary key)`,
    );
    await database.observe({ one: 'kinds.one', two: 'kinds.two' });
    const pool = database.pool({ max: 1 });
    const write = async () => {
      await pool.query(`delete from kinds.one; delete from kinds.two`);
      await database.takeEvents();
      await pool.query(`insert into kinds.one values (1, ${value})`);
      await pool.query(`insert into kinds.two values (${value})`);
      return database.takeEvents();
    };
    const written = await write();
    await pool.query(hostile);
    const twisted = await write();
    await pool.query(`alter table kinds.one drop column v; alter table kinds.one add column v ${type}`);
    const [added] = await write();
    await pool.end();
    expect(twisted).toEqual(written);
    expect(added?.new).toBe(written[0]?.new);
  });
});

test.runIf(serverVersion >= 180_000)('virtual generated columns are computed', async () => {
  await database.query(
    `create table kinds.one (id int primary key, a int, "double" int generated always as (a * 2) virtual)`,
  );
  await database.observe({ one: 'kinds.one' });
  await database.query('insert into kinds.one values (1, 21)');
  await database.query('update kinds.one set a = 22');
  await database.query('delete from kinds.one');
  const events = await database.takeEvents();
  expect(events.map((e) => [e.old, e.new])).toEqual([
    [null, '{"a": 21, "id": 1, "double": 42}'],
    ['{"a": 21, "id": 1, "double": 42}', '{"a": 22, "id": 1, "double": 44}'],
    ['{"a": 22, "id": 1, "double": 44}', null],
  ]);
});
