import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { brief, createCaptureDatabase } from './support.ts';

/** Transactions, rights and what applications say themselves. */

const database = await createCaptureDatabase('writers');
const role = `writer_${database.name}`;

beforeEach(async () => {
  await database.query('drop schema if exists shop cascade; create schema shop');
  await database.query('create table shop.t (id int primary key, v text)');
  await database.observe({ t: { table: 'shop.t' }, messages: { topic: 'messages' } });
  await database.takeEvents();
});

afterAll(async () => {
  await database.query('drop schema shop cascade');
  await database.query(`drop role if exists ${role}`);
});

async function asWriter(...statements: string[]) {
  const pool = database.pool({ max: 1 });
  try {
    await pool.query(`set role ${role}`);
    for (const sql of statements) await pool.query(sql);
  } finally {
    await pool.end();
  }
}

describe('an event exists if and only if its change committed', () => {
  test('rollback, savepoints, and a statement that failed', async () => {
    await database.query(`begin; insert into shop.t values (1); rollback`);
    await database.query(`
      begin; insert into shop.t values (2);
      savepoint a; insert into shop.t values (3); rollback to a;
      savepoint b; insert into shop.t values (4); release b;
      update shop.t set v = 'x' where id = 2; commit`);
    await database.query(`do $$ begin
      begin insert into shop.t values (5); insert into shop.t values (5); exception when unique_violation then null; end;
      insert into shop.t values (6); end $$`);
    expect((await database.takeEvents()).map((e) => [e.operation, e.key])).toEqual([
      ['insert', '2'],
      ['insert', '4'],
      ['update', '2'],
      ['insert', '6'],
    ]);
  });

  test('two-phase commit needs notify: false, and PostgreSQL says so', async () => {
    const pool = database.pool({ max: 1 });
    // A router that sleeps, so that writers notify.
    const sleeper = database.pool({ max: 1 });
    await sleeper.query('select pg_advisory_lock(1885826914, 3)');
    await pool.query('begin; insert into shop.t values (1)');
    await expect(pool.query(`prepare transaction 'noisy ${database.name}'`)).rejects.toThrow(/NOTIFY/);

    await database.observe({ t: { table: 'shop.t', notify: false } });
    await pool.query(`begin; insert into shop.t values (2); insert into shop.t values (3)`);
    await pool.query(`prepare transaction 'quiet ${database.name}'`);
    expect(await database.takeEvents()).toEqual([]);
    await pool.query(`commit prepared 'quiet ${database.name}'`);
    expect((await database.takeEvents()).map((e) => e.key)).toEqual(['2', '3']);
    await Promise.all([pool.end(), sleeper.end()]);
  });

  test('a deferred trigger that changes the row at commit is an event of its own', async () => {
    await database.query(`
      create function shop.seal() returns trigger language plpgsql as $$
        begin update shop.t set v = 'sealed' where id = new.id and v is null; return null; end $$;
      create constraint trigger seal after insert on shop.t deferrable initially deferred for each row execute function shop.seal()`);
    await database.query('insert into shop.t values (1)');
    expect(brief(await database.takeEvents())).toEqual([
      'insert 1 - {"v": null, "id": 1}',
      'update 1 {"v": null, "id": 1} {"v": "sealed", "id": 1}',
    ]);
  });
});

describe('wake-ups', () => {
  test('a writer notifies only while the router sleeps', async () => {
    const listener = await database.pool({ max: 1 }).connect();
    const heard: string[] = [];
    listener.on('notification', (message) => heard.push(message.channel));
    await listener.query('listen pg_observers_wake');
    await database.query('insert into shop.t values (1)');
    await listener.query('select 1');
    expect(heard).toEqual([]);
    const router = await database.pool({ max: 1 }).connect();
    await router.query('select pg_advisory_lock(1885826914, 3)');
    await database.query('insert into shop.t values (2)');
    await database.query('update shop.t set v = $$x$$ where false');
    await listener.query('select 1');
    expect(heard).toEqual(['pg_observers_wake']);
    router.release(true);
    listener.release(true);
  });
});

describe('rights', () => {
  beforeEach(async () => {
    await database.query(`drop role if exists ${role}; create role ${role}`);
    await database.query(
      `grant usage on schema shop to ${role}; grant insert, update, delete, select on shop.t to ${role}`,
    );
  });

  test('a writer needs none on the schema observers', async () => {
    await asWriter(`insert into shop.t values (1, 'a')`, `update shop.t set v = 'b'`, 'delete from shop.t');
    expect((await database.takeEvents()).map((e) => [e.operation, e.fault])).toEqual([
      ['insert', null],
      ['update', null],
      ['delete', null],
    ]);
    await expect(asWriter('select * from observers.events')).rejects.toThrow('permission denied for schema observers');
    await expect(asWriter(`select observers.emit('messages')`)).rejects.toThrow(
      'permission denied for schema observers',
    );
    await expect(asWriter('select observers.capture_t_insert()')).rejects.toThrow('permission denied');
  });

  test('also under row level security that hides the rows from it, and without the right to read', async () => {
    await database.query(`alter table shop.t enable row level security; alter table shop.t force row level security;
      create policy w on shop.t for insert to ${role} with check (true);
      revoke select, update, delete on shop.t from ${role}`);
    await asWriter(`insert into shop.t values (1, 'unseen')`);
    expect(brief(await database.takeEvents())).toEqual(['insert 1 - {"v": "unseen", "id": 1}']);
  });

  test('objects that a writer puts in our way are not used', async () => {
    await database.query(`create schema evil authorization ${role}`);
    await asWriter(
      `create function evil.to_jsonb(anyelement) returns jsonb language plpgsql as $$ begin raise 'evil'; end $$`,
      `create table evil.events (x int)`,
      'create temp table events (x int); create temp table pg_attribute (x int)',
      `set search_path = evil, pg_temp, shop`,
      `insert into t values (1, 'a')`,
    );
    expect(brief(await database.takeEvents())).toEqual(['insert 1 - {"v": "a", "id": 1}']);
    await database.query('drop schema evil cascade');
  });

  test('observers.emit takes usage of the schema and the right to execute it, nothing else', async () => {
    await database.query(`grant usage on schema observers to ${role}`);
    await expect(asWriter(`select observers.emit('messages')`)).rejects.toThrow('permission denied for function emit');
    await database.query(`grant execute on function observers.emit to ${role}`);
    await asWriter(`select observers.emit('messages', '{"user": 7}', key => 'k', tenant => 'acme')`);
    expect(await database.takeEvents()).toMatchObject([
      { source: 'messages', operation: 'emit', key: 'k', tenant: 'acme', payload: '{"user": 7}', fault: null },
    ]);
    await expect(asWriter('select * from observers.events')).rejects.toThrow('permission denied for table events');
    await expect(asWriter('select observers.replay(1)')).rejects.toThrow('permission denied');
    await database.query(
      `revoke all on function observers.emit from ${role}; revoke all on schema observers from ${role}`,
    );
  });
});

describe('observers.context', () => {
  test('goes with every event of the transaction, and no further', async () => {
    await database.query(`
      begin; select set_config('observers.context', '{"user": "ada", "n": 9007199254740993}', true);
      insert into shop.t values (1); select observers.emit('messages', '1'); truncate shop.t; commit`);
    await database.query('insert into shop.t values (2)');
    expect((await database.takeEvents()).map((e) => e.context)).toEqual([
      '{"n": 9007199254740993, "user": "ada"}',
      '{"n": 9007199254740993, "user": "ada"}',
      null,
    ]);
  });

  test('that is not JSON never fails the writer', async () => {
    await database.query(
      `begin; select set_config('observers.context', 'ada "x" \\u0000', true); insert into shop.t values (1); commit`,
    );
    expect((await database.takeEvents())[0]?.context).toBe('{"text": "ada \\"x\\" \\\\u0000"}');
  });
});

describe('observers.emit', () => {
  test('is part of the transaction, and returns the uid of the event', async () => {
    await database.query(`begin; select observers.emit('messages', '1'); rollback`);
    const { rows } = await database.query<{ uid: string }>(`select observers.emit('messages') as uid`);
    const events = await database.query('select uid, payload from observers.events');
    expect(events.rows).toEqual([{ uid: rows[0]?.uid, payload: null }]);
    await database.takeEvents();
    await expect(database.query(`select observers.emit('')`)).rejects.toThrow('the topic is missing');
  });

  test('a second message with the same dedupe key is the first one', async () => {
    const emit = async (topic: string, key: string) =>
      (
        await database.query<{ uid: string }>('select observers.emit($1, $2, dedupe_key => $3) as uid', [
          topic,
          '{}',
          key,
        ])
      ).rows[0]?.uid;
    const first = await emit('messages', 'k1');
    expect(await emit('messages', 'k1')).toBe(first);
    expect(await emit('messages', 'k2')).not.toBe(first);
    expect(await emit('others', 'k1')).not.toBe(first);
    expect(await database.takeEvents()).toHaveLength(3);
  });

  test('of twenty at the same time with one dedupe key, one is recorded, and all get its uid', async () => {
    const pool = database.pool({ max: 20 });
    const uids = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { rows } = await pool.query<{ uid: string }>(
          `select observers.emit('messages', '{}', dedupe_key => 'race') as uid`,
        );
        return rows[0]?.uid;
      }),
    );
    await pool.end();
    expect(uids[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(new Set(uids).size).toBe(1);
    expect(await database.takeEvents()).toHaveLength(1);
  });

  test('the key of a transaction that rolls back is free again', async () => {
    const holder = await database.pool({ max: 1 }).connect();
    await holder.query('begin');
    await holder.query(`select observers.emit('messages', '"lost"', dedupe_key => 'r')`);
    const waiting = database.query(`select observers.emit('messages', '"kept"', dedupe_key => 'r')`);
    await holder.query('rollback');
    await waiting;
    holder.release();
    expect((await database.takeEvents()).map((e) => e.payload)).toEqual(['"kept"']);
  });

  test('at repeatable read, a rival that committed first is an answer and no failure', async () => {
    const late = await database.pool({ max: 1 }).connect();
    await late.query('begin isolation level repeatable read; select 1');
    await database.query(`select observers.emit('messages', '{}', dedupe_key => 'rr')`);
    await expect(late.query(`select observers.emit('messages', '{}', dedupe_key => 'rr')`)).rejects.toThrow(
      /could not serialize/,
    );
    await late.query('rollback');
    late.release();
    expect(await database.takeEvents()).toHaveLength(1);
  });
});
