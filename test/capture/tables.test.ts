import { beforeEach, describe, expect, test } from 'vitest';
import { brief, createCaptureDatabase } from './support.ts';

const database = await createCaptureDatabase('tables');
const { rows } = await database.query<{ n: number }>(`select current_setting('server_version_num')::int as n`);
const serverVersion = rows[0]?.n ?? 0;

beforeEach(async () => {
  await database.query('drop schema if exists shop cascade; create schema shop');
  if ((await database.query(`select to_regclass('observers.events')`)).rows[0]?.to_regclass !== null) {
    await database.takeEvents();
  }
});

describe('statements', () => {
  beforeEach(async () => {
    await database.query('create table shop.t (id int primary key, v text)');
    await database.observe({ t: { table: 'shop.t', operations: ['insert', 'update', 'delete', 'truncate'] } });
  });

  test('many rows in one statement, in their order', async () => {
    await database.query(`insert into shop.t select n, 'v' || n from generate_series(1, 500) n`);
    const events = await database.takeEvents();
    expect(events.map((e) => e.key)).toEqual(Array.from({ length: 500 }, (_, i) => String(i + 1)));
    expect(events[499]?.new).toBe('{"v": "v500", "id": 500}');
  });

  test('zero rows are no event', async () => {
    await database.query(`insert into shop.t select 1, 'x' where false`);
    await database.query('update shop.t set id = 1');
    await database.query('delete from shop.t');
    expect(await database.takeEvents()).toEqual([]);
  });

  test('an update that changes the primary key keeps old and new together', async () => {
    await database.query(`insert into shop.t values (1, 'a'), (2, 'b'), (3, 'c')`);
    await database.takeEvents();
    await database.query('update shop.t set id = id + 10 where id <> 2');
    expect(brief(await database.takeEvents())).toEqual([
      'update 11 {"v": "a", "id": 1} {"v": "a", "id": 11}',
      'update 13 {"v": "c", "id": 3} {"v": "c", "id": 13}',
    ]);
  });

  test('an update that permutes primary keys among thousands of rows', async () => {
    await database.query('drop table shop.t; create table shop.t (id int primary key deferrable, v text)');
    await database.observe({ t: 'shop.t' });
    await database.query(`insert into shop.t select n, 'row ' || n from generate_series(0, 4999) n`);
    await database.takeEvents();
    await database.query('update shop.t set id = (id * 7 + 13) % 5000');
    const events = await database.takeEvents();
    expect(events).toHaveLength(5000);
    for (const { old, new: now, key } of events) {
      const [before, after] = [JSON.parse(old ?? ''), JSON.parse(now ?? '')];
      expect(after).toEqual({ id: (before.id * 7 + 13) % 5000, v: before.v });
      expect(key).toBe(String(after.id));
    }
    // The same again with memory for a few hundred rows, so that the pairing spills to disk.
    const pool = database.pool({ max: 1 });
    await pool.query(`set work_mem = '64kB'`);
    await pool.query('update shop.t set id = (id * 11 + 1) % 5000');
    await pool.end();
    const spilled = await database.takeEvents();
    expect(spilled).toHaveLength(5000);
    for (const { old, new: now } of spilled) expect(JSON.parse(now ?? '').v).toBe(JSON.parse(old ?? '').v);
  });

  test('upsert: what was inserted and what was updated, nothing for do nothing', async () => {
    await database.query(`insert into shop.t values (1, 'a')`);
    await database.takeEvents();
    await database.query(`insert into shop.t values (1, 'x'), (2, 'b') on conflict (id) do update set v = excluded.v`);
    await database.query(`insert into shop.t values (1, 'y') on conflict do nothing`);
    const events = await database.takeEvents();
    expect(brief(events).toSorted()).toEqual([
      'insert 2 - {"v": "b", "id": 2}',
      'update 1 {"v": "a", "id": 1} {"v": "x", "id": 1}',
    ]);
  });

  test.runIf(serverVersion >= 150_000)('MERGE with all three branches', async () => {
    await database.query(`insert into shop.t values (1, 'a'), (2, 'b')`);
    await database.takeEvents();
    await database.query(`merge into shop.t using (values (1, 'drop'), (2, 'change'), (3, 'add')) as s (id, what) on t.id = s.id
      when matched and what = 'drop' then delete when matched then update set v = what
      when not matched then insert values (s.id, s.what)`);
    expect(brief(await database.takeEvents()).toSorted()).toEqual([
      'delete 1 {"v": "a", "id": 1} -',
      'insert 3 - {"v": "add", "id": 3}',
      'update 2 {"v": "b", "id": 2} {"v": "change", "id": 2}',
    ]);
  });

  test('COPY', async () => {
    await database.query(`copy shop.t from program 'printf "1\\tone\\n2\\ttwo\\n"'`);
    expect(brief(await database.takeEvents())).toEqual([
      'insert 1 - {"v": "one", "id": 1}',
      'insert 2 - {"v": "two", "id": 2}',
    ]);
  });

  test('TRUNCATE, also of several tables at once', async () => {
    await database.query('create table shop.u (id int)');
    await database.query('truncate shop.t, shop.u');
    expect(brief(await database.takeEvents())).toEqual(['truncate - - -']);
  });

  test('data-modifying WITH and a function that writes', async () => {
    await database.query(`with a as (insert into shop.t values (1, 'a') returning id), b as (insert into shop.t values (2, 'b'))
      select * from a`);
    await database.query(`do $$ begin for n in 3..4 loop insert into shop.t values (n, 'loop'); end loop; end $$`);
    expect((await database.takeEvents()).map((e) => e.key).toSorted()).toEqual(['1', '2', '3', '4']);
  });

  test('the user’s own triggers have had their say', async () => {
    await database.query(`
      create function shop.polish() returns trigger language plpgsql as $$ begin new.v := upper(new.v); return new; end $$;
      create function shop.follow() returns trigger language plpgsql as $$
        begin update shop.t set v = v || '!' where id = new.id and v not like '%!'; return null; end $$;
      create trigger polish before insert or update on shop.t for each row execute function shop.polish();
      create trigger follow after insert on shop.t for each row execute function shop.follow();`);
    await database.query(`insert into shop.t values (1, 'a')`);
    expect(brief(await database.takeEvents()).toSorted()).toEqual([
      'insert 1 - {"v": "A", "id": 1}',
      'update 1 {"v": "A", "id": 1} {"v": "A!", "id": 1}',
    ]);
  });

  test('a row of nulls is a row', async () => {
    await database.query('create table shop.n (a int, b text)');
    await database.observe({ n: 'shop.n' });
    await database.query('insert into shop.n values (null, null)');
    await database.query('update shop.n set a = null');
    expect(brief(await database.takeEvents())).toEqual([
      'insert - - {"a": null, "b": null}',
      'update - {"a": null, "b": null} {"a": null, "b": null}',
    ]);
  });

  test('session_replication_role = replica is skipped', async () => {
    const pool = database.pool({ max: 1 });
    await pool.query('set session_replication_role = replica');
    await pool.query(`insert into shop.t values (1, 'a')`);
    await pool.end();
    expect(await database.takeEvents()).toEqual([]);
  });
});

describe('keys', () => {
  test('composite, in key order, as a JSON array of texts', async () => {
    await database.query('create table shop.t (a int, b text, v int, primary key (b, a))');
    await database.observe({ t: 'shop.t' });
    await database.query(`insert into shop.t values (1, 'x "y"', 5)`);
    expect((await database.takeEvents())[0]?.key).toBe('["x \\"y\\"", "1"]');
  });

  test('no primary key, and duplicates among the rows', async () => {
    await database.query('create table shop.t (line text, n int)');
    await database.observe({ t: 'shop.t' });
    await database.query(`insert into shop.t values ('same', 1), ('same', 1)`);
    await database.query('update shop.t set n = n + 1');
    const events = await database.takeEvents();
    expect(events.map((e) => [e.operation, e.key])).toEqual([
      ['insert', null],
      ['insert', null],
      ['update', null],
      ['update', null],
    ]);
    expect(events[3]).toMatchObject({ old: '{"n": 1, "line": "same"}', new: '{"n": 2, "line": "same"}' });
  });

  test('a key outside of `columns` still identifies the row', async () => {
    await database.query('create table shop.t (id int primary key, v text)');
    await database.observe({ t: { table: 'shop.t', columns: ['v'] } });
    await database.query(`insert into shop.t values (7, 'a')`);
    expect(await database.takeEvents()).toMatchObject([{ key: '7', new: '{"v": "a"}' }]);
  });

  test('foreign key cascades', async () => {
    await database.query(`
      create table shop.parent (id int primary key);
      create table shop.child (id int primary key, parent int references shop.parent on delete cascade on update cascade)`);
    await database.observe({ child: 'shop.child' });
    await database.query(
      'insert into shop.parent values (1), (2); insert into shop.child values (10, 1), (11, 1), (20, 2)',
    );
    await database.takeEvents();
    await database.query('update shop.parent set id = 3 where id = 2');
    await database.query('delete from shop.parent where id = 1');
    expect(brief(await database.takeEvents())).toEqual([
      'update 20 {"id": 20, "parent": 2} {"id": 20, "parent": 3}',
      'delete 10 {"id": 10, "parent": 1} -',
      'delete 11 {"id": 11, "parent": 1} -',
    ]);
  });
});

describe('partitioned tables', () => {
  beforeEach(async () => {
    await database.query(`
      create table shop.p (id int, region text, v text, primary key (id, region)) partition by list (region);
      create table shop.p_eu partition of shop.p for values in ('eu');
      create table shop.p_us (v text, junk int, region text not null, id int not null);
      alter table shop.p_us drop column junk;
      alter table shop.p attach partition shop.p_us for values in ('us');
      create table shop.p_rest partition of shop.p default partition by hash (id);
      create table shop.p_rest_0 partition of shop.p_rest for values with (modulus 2, remainder 0);
      create table shop.p_rest_1 partition of shop.p_rest for values with (modulus 2, remainder 1)`);
  });

  const sources = { p: { table: 'shop.p', tenant: 'region' } };

  test('through the parent, through a partition, through a sub-partition: once each', async () => {
    await database.observe(sources);
    await database.query(`insert into shop.p values (1, 'eu', 'a'), (2, 'us', 'b'), (3, 'xx', 'c')`);
    await database.query(`insert into shop.p_us (id, region, v) values (4, 'us', 'direct')`);
    await database.query(`insert into shop.p_rest values (5, 'yy', 'middle')`);
    await database.query(`update shop.p_rest_0 set v = 'leaf'; update shop.p_rest_1 set v = 'leaf'`);
    const events = await database.takeEvents();
    expect(events.map((e) => [e.operation, e.key, e.tenant, e.fault])).toEqual([
      ['insert', '["1", "eu"]', 'eu', null],
      ['insert', '["2", "us"]', 'us', null],
      ['insert', '["3", "xx"]', 'xx', null],
      ['insert', '["4", "us"]', 'us', null],
      ['insert', '["5", "yy"]', 'yy', null],
      ...events.slice(5).map((e) => ['update', e.key, e.tenant, null]),
    ]);
    expect(
      events
        .slice(5)
        .map((e) => e.key)
        .toSorted(),
    ).toEqual(['["3", "xx"]', '["5", "yy"]']);
    expect(events[3]?.new).toBe('{"v": "direct", "id": 4, "region": "us"}');
  });

  test('a row that moves to another partition is one update', async () => {
    await database.observe(sources);
    await database.query(`insert into shop.p values (1, 'eu', 'a'), (2, 'eu', 'b')`);
    await database.takeEvents();
    await database.query(`update shop.p set region = 'us', id = id + 10 where id = 1`);
    expect(brief(await database.takeEvents())).toEqual([
      'update ["11", "us"] {"v": "a", "id": 1, "region": "eu"} {"v": "a", "id": 11, "region": "us"}',
    ]);
  });

  test('a row that a trigger of its new partition drops stands alone, and the others keep their partners', async () => {
    await database.query(`
      create function shop.refuse() returns trigger language plpgsql as $$ begin return null; end $$;
      create trigger refuse before insert on shop.p_us for each row execute function shop.refuse()`);
    for (const source of [sources.p, { ...sources.p, where: `new.v is distinct from 'filtered'` }]) {
      await database.observe({ p: source });
      await database.query(
        `truncate shop.p; insert into shop.p values (1, 'eu', 'a'), (2, 'eu', 'b'), (3, 'eu', 'filtered')`,
      );
      await database.takeEvents();
      await database.query(`update shop.p set region = case id when 1 then 'us' else 'eu' end`);
      const others = [
        'update ["2", "eu"] {"v": "b", "id": 2, "region": "eu"} {"v": "b", "id": 2, "region": "eu"}',
        'update ["3", "eu"] {"v": "filtered", "id": 3, "region": "eu"} {"v": "filtered", "id": 3, "region": "eu"}',
      ];
      expect(brief(await database.takeEvents()).toSorted()).toEqual([
        'update ["1", "eu"] {"v": "a", "id": 1, "region": "eu"} -',
        ...('where' in source ? others.slice(0, 1) : others),
      ]);
    }
  });

  test('TRUNCATE of the parent, and of a part', async () => {
    await database.observe({ p: { table: 'shop.p', operations: ['truncate'] } });
    await database.query('truncate shop.p_rest_0');
    expect(await database.takeEvents()).toHaveLength(1);
    await database.query('truncate shop.p');
    // PostgreSQL truncates, and so fires, table by table.
    expect((await database.takeEvents()).every((e) => e.operation === 'truncate')).toBe(true);
  });

  test('replicated: row-level triggers, by PostgreSQL cloned to every part; there and back', async () => {
    const replicated = { p: { table: 'shop.p', replicated: true } };
    for (const wanted of [sources, replicated, sources, replicated]) {
      await database.observe(wanted);
      expect(await database.plan(wanted)).toEqual([]);
      await database.query(
        `insert into shop.p values (1, 'eu', 'a'); update shop.p set region = 'xx'; delete from shop.p_rest`,
      );
      expect((await database.takeEvents()).every((e) => e.fault === null)).toBe(true);
    }
    const pool = database.pool({ max: 1 });
    await pool.query('set session_replication_role = replica');
    await pool.query(`insert into shop.p values (1, 'eu', 'a'); delete from shop.p_eu`);
    await pool.end();
    expect(brief(await database.takeEvents())).toEqual([
      'insert ["1", "eu"] - {"v": "a", "id": 1, "region": "eu"}',
      'delete ["1", "eu"] {"v": "a", "id": 1, "region": "eu"} -',
    ]);
  });

  test('a new partition, made or attached, is missing until the next apply; parent-side writes are captured at once', async () => {
    await database.observe(sources);
    await database.query(`create table shop.p_asia partition of shop.p for values in ('asia')`);
    const missing = (op: string) =>
      `create trigger zz_pg_observers_p_${op} on shop.p_asia: missing on a part of shop.p`;
    expect(await database.plan(sources)).toEqual(['insert', 'update', 'delete'].map(missing));
    await database.query(`insert into shop.p values (1, 'asia', 'a')`);
    expect(await database.takeEvents()).toHaveLength(1);
    await database.observe(sources);
    expect(await database.plan(sources)).toEqual([]);
    await database.query(`insert into shop.p_asia values (2, 'asia', 'b')`);
    expect(await database.takeEvents()).toHaveLength(1);
    await database.query('alter table shop.p detach partition shop.p_asia');
    expect((await database.plan(sources)).map((step) => step.split(':')[0])).toEqual(
      ['delete', 'insert', 'update'].map((op) => `drop trigger zz_pg_observers_p_${op} on shop.p_asia`),
    );
    await database.observe(sources);
    await database.query(`insert into shop.p_asia values (3, 'asia', 'own')`);
    expect(await database.takeEvents()).toEqual([]);
  });
});

describe('inherited tables', () => {
  test('through the parent and through the child, which has a column more', async () => {
    await database.query(`
      create table shop.parent (id int primary key, v text);
      create table shop.child (extra json) inherits (shop.parent)`);
    const sources = { t: 'shop.parent' };
    await database.observe(sources);
    expect(await database.plan(sources)).toEqual([]);
    await database.query(`insert into shop.parent values (1, 'p')`);
    await database.query(`insert into shop.child values (2, 'c', '"\\u0000"')`);
    await database.query(`update shop.parent set v = v || '!'`);
    await database.query('delete from shop.child');
    const events = await database.takeEvents();
    expect(brief(events).filter((line) => !line.includes('truncated'))).toEqual([
      'insert 1 - {"v": "p", "id": 1}',
      'update 1 {"v": "p", "id": 1} {"v": "p!", "id": 1}',
      'update 2 {"v": "c", "id": 2} {"v": "c!", "id": 2}',
    ]);
    expect(events.filter((e) => e.operation !== 'update').map((e) => [e.operation, e.key])).toEqual([
      ['insert', '1'],
      ['insert', '2'],
      ['delete', '2'],
    ]);
  });
});

describe('columns', () => {
  test('generated: stored', async () => {
    await database.query(
      'create table shop.t (id int primary key, a int, twice int generated always as (a * 2) stored)',
    );
    await database.observe({ t: 'shop.t' });
    await database.query('insert into shop.t values (1, 21); update shop.t set a = 5');
    expect(brief(await database.takeEvents())).toEqual([
      'insert 1 - {"a": 21, "id": 1, "twice": 42}',
      'update 1 {"a": 21, "id": 1, "twice": 42} {"a": 5, "id": 1, "twice": 10}',
    ]);
  });

  test.runIf(serverVersion >= 180_000)('generated: virtual, by an expression that fails', async () => {
    await database.query(
      'create table shop.t (id int primary key, a int, inverse int generated always as (100 / a) virtual)',
    );
    await database.observe({ t: 'shop.t' });
    await database.query('insert into shop.t values (1, 5)');
    await database.query('insert into shop.t values (2, 0)');
    expect(await database.takeEvents()).toMatchObject([
      { key: '1', new: '{"a": 5, "id": 1, "inverse": 20}', fault: null },
      { key: '2', new: '{"a": 0, "id": 2, "inverse": null}', fault: 'division by zero' },
    ]);
  });

  test('names that need quotes, hostile ones, and those that our own SQL uses', async () => {
    const names = [
      'Größe',
      'a"b',
      "it's",
      'select',
      'old',
      'new',
      't',
      'r',
      'n',
      'o',
      'e',
      'p',
      'rn',
      'id',
      'key',
      'новый',
      'a b',
      '$1',
      'x\\y',
    ];
    const columns = names.map((name) => `"${name.replaceAll('"', '""')}" int`).join(', ');
    await database.query(
      `create schema "Größen Lager"; create table "Größen Lager"."Tabelle ""7""" (${columns}, primary key ("a""b", "Größe"))`,
    );
    const sources = {
      hostile: {
        table: '"Größen Lager"."Tabelle ""7"""',
        where: `"Größe" > 0 and new."new" = old."old" or "rn" > 0 -- a comment`,
        tenant: 'новый',
      },
      'row-level': { table: '"Größen Lager"."Tabelle ""7"""', columns: names, replicated: true },
    };
    await database.observe(sources);
    expect(await database.plan(sources)).toEqual([]);
    await database.query(`insert into "Größen Lager"."Tabelle ""7""" values (${names.map((_, i) => i + 1)})`);
    await database.query(`update "Größen Lager"."Tabelle ""7""" set t = 70`);
    const events = await database.takeEvents();
    expect(events.map((e) => [e.operation, e.key, e.fault])).toEqual(
      ['insert', 'insert', 'update', 'update'].map((op) => [op, '["2", "1"]', null]),
    );
    const image = Object.fromEntries(names.map((name, i) => [name, i + 1]));
    for (const e of events.slice(0, 2)) expect(JSON.parse(e.new ?? '')).toEqual(image);
    for (const e of events.slice(2)) expect(JSON.parse(e.new ?? '')).toEqual({ ...image, t: 70 });
    await database.query('drop schema "Größen Lager" cascade');
  });

  test('two sources whose long names begin alike stay apart', async () => {
    await database.query('create table shop.t (id int primary key); create table shop.u (id int primary key)');
    const long = 'a-source-with-a-name-that-is-longer-than-postgresql-keeps-';
    await database.observe({ [`${long}1`]: 'shop.t', [`${long}2`]: 'shop.u' });
    await database.query('insert into shop.t values (1); insert into shop.u values (2)');
    expect((await database.takeEvents()).map((e) => [e.source, e.key])).toEqual([
      [`${long}1`, '1'],
      [`${long}2`, '2'],
    ]);
  });
});
