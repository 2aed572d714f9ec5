import { beforeEach, describe, expect, test } from 'vitest';
import { ConfigError } from '../../src/domain/errors.ts';
import { applyCapture, planCapture } from '../../src/transport/postgres/capture-plan.ts';
import { bundledMigrations } from '../../src/transport/postgres/migrations.ts';
import { configOf, createCaptureDatabase, inWords, until } from './support.ts';

const database = await createCaptureDatabase('plan');
await database.observe({});
const sources = { t: { table: 'shop.t' } };
const trigger = (op: string, table = 'shop.t') => `trigger zz_pg_observers_t_${op} on ${table}`;
const operations = ['insert', 'update', 'delete'];

beforeEach(async () => {
  await database.query('drop schema if exists shop cascade; create schema shop');
  await database.query('create table shop.t (id int primary key, v text, total numeric)');
  await database.observe({});
  await database.takeEvents();
});

const migrations = bundledMigrations();

describe('from nothing', () => {
  test('an empty database: the plan shows the exact SQL, reads only, and apply does just that', async () => {
    const empty = await createCaptureDatabase('plan_empty');
    await empty.query('create schema shop; create table shop.t (id int primary key)');
    const config = empty.config(sources);
    const { steps } = await planCapture(empty.ours, config);
    expect(inWords(steps)).toEqual([
      ...migrations.map(({ name }) => `migrate migration ${name}: not applied yet`),
      ...operations.map((op) => `create function observers."capture_t_${op}": new`),
      ...operations.map((op) => `create ${trigger(op)}: missing`),
    ]);
    expect((await empty.query(`select to_regnamespace('observers') as schema`)).rows).toEqual([{ schema: null }]);
    // By hand, in psql, from what the plan printed.
    for (const step of steps) await empty.query(step.sql);
    expect(await empty.plan(sources)).toEqual([]);
    await empty.query('insert into shop.t values (1)');
    expect(await empty.takeEvents()).toHaveLength(1);
  });

  test('apply returns and reports its steps, and takes none the second time', async () => {
    const told: string[] = [];
    const config = database.config(sources);
    const steps = await applyCapture(database.ours, config, (step) => told.push(step.subject));
    expect(told).toEqual(steps.map((step) => step.subject));
    expect(told).toHaveLength(6);
    expect(await applyCapture(database.ours, config)).toEqual([]);
  });

  test('ten at the same time end well, and install once', async () => {
    const results = await Promise.all(
      Array.from({ length: 10 }, () => applyCapture(database.pool({ max: 3 }), database.config(sources))),
    );
    expect(results.filter((steps) => steps.length > 0)).toHaveLength(1);
    await database.query('insert into shop.t values (1)');
    expect(await database.takeEvents()).toHaveLength(1);
  });

  test('also on a database that is not migrated', async () => {
    const empty = await createCaptureDatabase('plan_race');
    await empty.query('create schema shop; create table shop.t (id int primary key)');
    await Promise.all(Array.from({ length: 5 }, () => applyCapture(empty.pool({ max: 3 }), empty.config(sources))));
    expect(await empty.plan(sources)).toEqual([]);
  });
});

describe('drift is found, and mended', () => {
  const lines = (kind: string, reason: string, ...ops: string[]) =>
    ops.map((op) => `${kind} ${trigger(op)}: ${reason}`);

  test.each<[string, string, string[]]>([
    ['a trigger dropped', 'drop trigger zz_pg_observers_t_update on shop.t', lines('create', 'missing', 'update')],
    [
      'a trigger disabled',
      'alter table shop.t disable trigger zz_pg_observers_t_insert',
      lines('enable', 'was disabled', 'insert'),
    ],
    ['all disabled', 'alter table shop.t disable trigger all', lines('enable', 'was disabled', ...operations)],
    [
      'a trigger enabled for replicas',
      'alter table shop.t enable replica trigger zz_pg_observers_t_insert',
      lines('enable', 'is enabled differently', 'insert'),
    ],
    [
      'a trigger renamed',
      'alter trigger zz_pg_observers_t_insert on shop.t rename to mine',
      ['replace trigger zz_pg_observers_t_insert on shop.t: the rule changed'],
    ],
    [
      'a trigger added by hand',
      'create trigger mine after insert on shop.t referencing new table as pgo_new_rows for each statement execute function observers.capture_t_insert()',
      ['replace trigger zz_pg_observers_t_insert on shop.t: the rule changed'],
    ],
    [
      'a function replaced',
      `create or replace function observers.capture_t_delete() returns trigger language plpgsql as 'begin return null; end'`,
      ['replace function observers."capture_t_delete": the rule or the table changed'],
    ],
    [
      'a function’s settings changed',
      `alter function observers.capture_t_delete() reset jit`,
      ['replace function observers."capture_t_delete": its settings or rights were changed'],
    ],
    [
      'a function with the rights of its caller',
      `alter function observers.capture_t_delete() security invoker`,
      ['replace function observers."capture_t_delete": its settings or rights were changed'],
    ],
    [
      'a function that everybody may attach to a table of their own',
      `grant execute on function observers.capture_t_delete() to public`,
      ['replace function observers."capture_t_delete": its settings or rights were changed'],
    ],
    [
      'triggers and functions dropped',
      'drop function observers.capture_t_delete() cascade',
      ['create function observers."capture_t_delete": new', ...lines('create', 'missing', 'delete')],
    ],
    [
      'the table made anew',
      'drop table shop.t; create table shop.t (id int primary key, v text, total numeric)',
      lines('create', 'missing', ...operations),
    ],
    [
      'the primary key changed',
      'alter table shop.t drop constraint t_pkey, add primary key (id, v)',
      operations.map((op) => `replace function observers."capture_t_${op}": the rule or the table changed`),
    ],
  ])('%s', async (_, damage, plan) => {
    await database.observe(sources);
    await database.query(damage);
    expect(await database.plan(sources)).toEqual(plan);
    await database.observe(sources);
    expect(await database.plan(sources)).toEqual([]);
    await database.query(`insert into shop.t values (1, 'a'); update shop.t set v = 'b'; delete from shop.t`);
    expect((await database.takeEvents()).map((e) => e.operation)).toEqual(operations);
  });

  test('a changed rule', async () => {
    await database.observe(sources);
    const narrower = { t: { table: 'shop.t', operations: ['insert'] as const, columns: ['id'] } };
    expect(await database.plan(narrower)).toEqual([
      'replace function observers."capture_t_insert": the rule or the table changed',
      ...['delete', 'update'].map((op) => `drop ${trigger(op)}: no source asks for it any more`),
      ...['delete', 'update'].map((op) => `drop function observers."capture_t_${op}": no source asks for it any more`),
    ]);
    await database.observe(narrower);
    expect(await database.plan(narrower)).toEqual([]);
  });

  test('a source that moves to another table', async () => {
    await database.observe(sources);
    await database.query('create table shop.u (id int primary key)');
    const moved = { t: { table: 'shop.u' } };
    await database.observe(moved);
    expect(await database.plan(moved)).toEqual([]);
    await database.query('insert into shop.t values (1); insert into shop.u values (2)');
    expect((await database.takeEvents()).map((e) => e.key)).toEqual(['2']);
  });

  test('a source that goes takes its triggers and functions along', async () => {
    await database.observe({ ...sources, other: 'shop.t' });
    await database.observe({ other: 'shop.t' });
    const { rows } = await database.query(`select proname from pg_proc where proname like 'capture\\_%' order by 1`);
    expect(rows.map((row) => row.proname)).toEqual(
      ['delete', 'insert', 'truncate', 'update'].map((op) => `capture_other_${op}`),
    );
    await database.query('insert into shop.t values (1)');
    expect((await database.takeEvents()).map((e) => e.source)).toEqual(['other']);
  });

  test('changing the level of triggers under load fails no writer and misses no change', async () => {
    await database.observe(sources);
    const pool = database.pool({ max: 4 });
    let writing = true;
    let written = 0;
    const writer = async (w: number) => {
      for (let n = 0; writing; n++) {
        await pool.query('insert into shop.t values ($1)', [w * 1_000_000 + n]);
        written += 1;
      }
    };
    const writers = Promise.all([0, 1, 2, 3].map(writer));
    for (const replicated of [true, false, true, false]) {
      await database.observe({ t: { table: 'shop.t', replicated, where: 'id >= 0' } });
    }
    writing = false;
    await writers;
    const events = await database.takeEvents();
    expect(written).toBeGreaterThan(0);
    expect(events).toHaveLength(written);
    expect(events.filter((e) => e.fault !== null)).toEqual([]);
  });
});

describe('what can not be captured is said, with position and all at once', () => {
  test('unknown tables and columns, a view, an error in where', async () => {
    await database.query('create table shop.orders (id int primary key, status text); create view shop.v as select 1');
    const config = configOf(database.url, {
      a: { table: 'shop.order' },
      b: { table: 'shop.orders', columns: ['id', 'statsu'], tenant: 'tenant' },
      c: { table: 'shop.v' },
      d: { table: 'shop.orders', where: 'status > > 1' },
      e: { table: 'shop.orders', where: 'new.state = $$x$$' },
      f: { table: 'shop.orders', where: 'id' },
      h: { table: 'shop.orders', where: 'id + 1.5' },
      g: { table: 'nowhere.at_all' },
    });
    const failure = await planCapture(database.ours, config).catch((error) => error);
    expect(failure).toBeInstanceOf(ConfigError);
    const at = (name: string) => {
      const position = config.sources.get(name)?.position;
      return `config:${position?.line}:${position?.column}  source ${name}: `;
    };
    const hint = '  (SQL over new, old and the columns; qualify functions of your own with their schema)';
    expect(failure.message.split('\n')).toEqual([
      `${at('a')}there is no table shop.order in this database  (did you mean shop.orders?)`,
      `${at('b')}shop.orders has no column statsu  (did you mean status?)`,
      `${at('b')}shop.orders has no column tenant`,
      `${at('c')}shop.v is a view; only tables can be captured  (observe the tables behind it)`,
      `${at('d')}where: syntax error at or near ">"${hint}`,
      `${at('e')}where: column new.state does not exist${hint}`,
      `${at('h')}where: cannot cast type numeric to boolean${hint}`,
      `${at('g')}there is no table nowhere.at_all in this database`,
    ]);
    expect(await database.plan({})).toEqual([]);
  });
});

describe('locks', () => {
  test('behind a long transaction: retried until it ends, and writers are let through in between', async () => {
    const long = await database.pool({ max: 1 }).connect();
    await long.query('begin; lock table shop.t in access exclusive mode');
    const applying = database.observe(sources);
    await until('apply to wait', async () => {
      const { rows } = await database.query(
        `select 1 from pg_locks where relation = 'shop.t'::regclass and not granted`,
      );
      return rows.length > 0;
    });
    await long.query('commit');
    long.release();
    await applying;
    expect(await database.plan(sources)).toEqual([]);
  });

  test('behind one that does not end: a clear message, and what is done stays done', { timeout: 60_000 }, async () => {
    const long = await database.pool({ max: 1 }).connect();
    await long.query('begin; select * from shop.t; lock table shop.t in row exclusive mode');
    const applying = applyCapture(database.ours, database.config(sources), undefined, undefined, 3);
    const failure = await applying.catch((error) => error);
    expect(failure.name).toBe('UserError');
    expect(failure.message).toBe(
      'shop.t stayed locked by a long transaction: trigger zz_pg_observers_t_insert on shop.t was not changed. Run `pg-observers apply` again when it has ended.',
    );
    await long.query('insert into shop.t values (1); commit');
    long.release();
    expect(await database.plan(sources)).toEqual(operations.map((op) => `create ${trigger(op)}: missing`));
  });

  test('under load: no writer fails', async () => {
    const pool = database.pool({ max: 6 });
    let writing = true;
    let written = 0;
    const writers = Promise.all(
      Array.from({ length: 6 }, async (_, w) => {
        for (let n = 0; writing; n++, written++)
          await pool.query('insert into shop.t values ($1)', [w * 1_000_000 + n]);
      }),
    );
    await database.observe(sources);
    const before = written;
    await until('more writes', async () => written > before + 100);
    writing = false;
    await writers;
    expect((await database.takeEvents()).length).toBeGreaterThan(100);
  });
});

test('a database that a newer version migrated refuses', async () => {
  await database.query(`insert into observers.migrations (version, name, checksum) values (9999, '9999_future', '')`);
  await expect(database.plan(sources)).rejects.toThrow(
    `This database was migrated to version 9999 by a newer pg-observers; this one knows version ${migrations.length}. Update this program.`,
  );
  await database.query('delete from observers.migrations where version = 9999');
});
