// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${{ }} is the format's own syntax here
import { expect, onTestFinished, test } from 'vitest';
import type { ActionInput, DestinationInput } from '../../src/config/index.ts';
import { createDatabase } from '../support/database.ts';
import { count, drained, emit, eventually, migrated, rules, run } from './fixture.ts';

/** One observer of the topic `orders` with these actions. */
const observing = (url: string, actions: readonly ActionInput[], sql: DestinationInput = { sql: {} }, maxDepth = 8) =>
  rules(url, {
    destinations: { audit: sql },
    defaults: { retry: { initial: '10ms', jitter: 'none' } },
    observers: { order: { source: 'orders', actions } },
    settings: { max_depth: maxDepth },
  });

const insert =
  'insert into audit (order_id, total, event) values (${{ payload.id }}, ${{ payload.total }}, ${{ event.id }})';

async function withAudit(label: string) {
  const database = await migrated(label);
  await database.query(
    'create table audit (id serial primary key, order_id bigint unique, total numeric, event uuid, tx xid8 default pg_current_xact_id())',
  );
  return database;
}

test('a statement in the observed database is done once, with its settlement, digit for digit', async () => {
  const database = await withAudit('sql_once');
  const { attempts } = await run(observing(database.url, [{ sql: 'audit', statement: insert }]));
  const uid = await emit(database, { id: 1 });
  await database.query(`select observers.emit('orders', '{"id": 9007199254740993, "total": 12345678901234567890.10}')`);
  await drained(database, 2);
  const { rows } = await database.query('select order_id::text, total::text, event from audit order by order_id');
  expect(rows).toMatchObject([
    { order_id: '1', total: null, event: uid },
    { order_id: '9007199254740993', total: '12345678901234567890.10' },
  ]);
  const { rows: history } = await database.query('select distinct outcome, response_excerpt from observers.attempts');
  expect(history).toEqual([{ outcome: 'delivered', response_excerpt: 'INSERT 1' }]);
  // The row and the end of its delivery are one transaction.
  const together = await database.query(
    `select from audit a join observers.attempts t on t.event_uid = a.event and t.xmin = a.tx::xid`,
  );
  expect(together.rowCount).toBe(2);
  expect(attempts().map(({ outcome }) => outcome)).toEqual(['delivered', 'delivered']);
});

test('values of every type arrive as what they are', async () => {
  const database = await migrated('sql_types');
  await database.query(
    'create table kinds (n numeric, t text, b boolean, j jsonb, a jsonb, at timestamptz, missing int)',
  );
  const statement =
    'insert into kinds values (${{ payload.n }}, ${{ payload.t }}, ${{ payload.b }}, ${{ payload.j }}, ${{ payload.a }}, ${{ ts(payload.at) }}, ${{ payload.missing }})';
  await run(observing(database.url, [{ sql: 'audit', statement }]));
  const t = `'"; drop table kinds; -- \\ $1 \${{ payload.n }}`;
  await emit(database, { n: 1.5, t, b: true, j: { x: [1, null] }, a: ['b'], at: '2026-11-20T12:00:00+02:00' });
  await drained(database, 1);
  const { rows } = await database.query(`select *, at at time zone 'UTC' = '2026-11-20 10:00' as same from kinds`);
  expect(rows).toMatchObject([{ n: '1.5', t, b: true, j: { x: [1, null] }, a: ['b'], same: true, missing: null }]);
});

test('an instance that lost its claim leaves nothing behind', async () => {
  const database = await withAudit('sql_fenced');
  await database.query(`create function steal() returns int language sql as
    $$ update observers.deliveries set lease = lease + 1 returning 1 $$`);
  // In a session of its own, so that it commits before the statement does.
  await database.query('create extension if not exists dblink');
  const { username, password } = new URL(database.url);
  const steal = `insert into audit (order_id) select 7 from dblink('dbname=${database.name} port=' || current_setting('port') || ' host=127.0.0.1 user=${username} password=${password || 'none'}', 'select steal()') as t(one int)`;
  const { heard } = await run(observing(database.url, [{ sql: 'audit', statement: steal }]));
  await emit(database, { id: 1 });
  await heard('delivery.fenced');
  expect((await database.query('select from audit')).rowCount).toBe(0);
});

test('a refused statement is a dead letter with its SQLSTATE, and leaves nothing behind', async () => {
  const database = await withAudit('sql_refused');
  await run(observing(database.url, [{ sql: 'audit', statement: insert }]));
  await emit(database, { id: 1 });
  await drained(database, 1);
  await emit(database, { id: 1 });
  const dead = await eventually('a dead letter', async () => {
    const { rows } = await database.query('select * from observers.dead_letters');
    return rows[0];
  });
  expect(dead).toMatchObject({ reason: 'rejected', error_class: 'sql_23505', attempts: 1 });
  expect(dead.error_message).toMatch(/duplicate key .* \(SQLSTATE 23505\)$/);
  expect(dead.request).toMatchObject({
    statement: expect.stringContaining('$3'),
    parameters: ['1', null, dead.event_uid],
  });
  expect((await database.query('select from audit')).rowCount).toBe(1);
});

test('a deadlock or a failed serialization is tried again', async () => {
  const database = await withAudit('sql_again');
  await database.query(`create sequence tries;
    create function shaky() returns int language plpgsql as $$
    begin
      if nextval('tries') < 3 then raise exception 'no' using errcode = 'serialization_failure'; end if;
      return 1;
    end $$`);
  const { attempts } = await run(
    observing(database.url, [{ sql: 'audit', statement: 'insert into audit (order_id) select shaky()' }]),
  );
  await emit(database, { id: 1 });
  await drained(database, 1);
  await eventually('three attempts', () => attempts().length === 3);
  expect(attempts().map(({ errorClass }) => errorClass)).toEqual(['sql_40001', 'sql_40001', null]);
  expect((await database.query('select from audit')).rowCount).toBe(1);
});

test('a statement that waits for a lock ends at its deadline, and holds up nobody else', async () => {
  const database = await withAudit('sql_locked');
  await database.query('insert into audit (order_id, total) values (1, 0)');
  const blocker = await database.pool().connect();
  onTestFinished(() => blocker.release());
  await blocker.query('begin; update audit set total = 1 where order_id = 1');
  const { attempts } = await run(
    rules(database.url, {
      destinations: { slow: { sql: {}, timeout: '400ms', retry: { attempts: 1 } }, audit: { sql: {} } },
      observers: {
        locked: {
          source: 'orders',
          order_by: '1',
          actions: [{ sql: 'slow', statement: 'update audit set total = 2 where order_id = 1' }],
        },
        free: { source: 'orders', order_by: '1', actions: [{ sql: 'audit', statement: insert }] },
      },
    }),
  );
  await emit(database, { id: 2 });
  await eventually('both', () => attempts().length === 2);
  expect(attempts().map(({ destination, outcome, errorClass }) => [destination, outcome, errorClass])).toEqual([
    ['audit', 'delivered', null],
    ['slow', 'dead', 'timeout'],
  ]);
  // The server doesn't wait on, either.
  await eventually('no statement of ours', async () => {
    const { rowCount } = await database.query(
      `select from pg_stat_activity where datname = current_database() and application_name = 'pg-observers sql' and state <> 'idle'`,
    );
    return rowCount === 0;
  });
  await blocker.query('rollback');
  expect((await database.query('select total::text from audit where order_id = 1')).rows).toEqual([{ total: '0' }]);
});

test('stopping ends a statement on the server and costs no attempt', async () => {
  const database = await withAudit('sql_stop');
  const { engine } = await run(observing(database.url, [{ sql: 'audit', statement: 'select pg_sleep(60)' }]));
  await emit(database, { id: 1 });
  const sleeping = `select from pg_stat_activity where datname = current_database() and query like 'select pg_sleep%'`;
  await eventually('it sleeps', async () => (await database.query(sleeping)).rowCount === 1);
  await engine.stop({ timeoutMs: 0 });
  await eventually(
    'nobody sleeps',
    async () => (await database.query(`${sleeping} and state = 'active'`)).rowCount === 0,
  );
  expect(await count(database, 'deliveries', `state = 'ready' and attempts = 0`)).toBe(1);
});

test('a role of its own has its rights and no others', async () => {
  const database = await withAudit('sql_role');
  const role = `clerk_${database.name}`;
  await database.query(
    `create role ${role}; grant insert on audit to ${role}; grant usage on sequence audit_id_seq to ${role}`,
  );
  onTestFinished(() => database.query(`drop owned by ${role}; drop role ${role}`).then(() => {}));
  const { attempts } = await run(
    observing(
      database.url,
      [
        { sql: 'audit', statement: 'insert into audit (order_id) values (${{ payload.id }})' },
        { sql: 'audit', statement: 'delete from audit' },
        { sql: 'audit', statement: 'delete from observers.dead_letters' },
      ],
      { sql: { role } },
    ),
  );
  await emit(database, { id: 1 });
  await eventually('three attempts', () => attempts().length === 3);
  expect(
    attempts()
      .map(({ action, errorClass }) => `${action} ${errorClass}`)
      .sort(),
  ).toEqual(['sql-1 null', 'sql-2 sql_42501', 'sql-3 sql_42501']);
  expect((await database.query('select from audit')).rowCount).toBe(1);
});

test('in another database the id of the delivery drops repeats', async () => {
  const [database, other] = [await migrated('sql_here'), await createDatabase('sql_there')];
  await other.query('create table audit (delivery text primary key, order_id bigint)');
  const statement =
    'insert into audit (delivery, order_id) values (${{ delivery.id }}, ${{ payload.id }}) on conflict do nothing';
  await run(observing(database.url, [{ sql: 'audit', statement }], { sql: { database: other.url } }));
  await emit(database, { id: 1 });
  await drained(database, 1);
  const { rows } = await other.query<{ delivery: string }>('select * from audit');
  expect(rows).toEqual([{ delivery: expect.stringMatching(/^msg_/), order_id: '1' }]);
});

test('an ordered lane goes on when its head was settled with a statement, and a replay takes its dead letter along', async () => {
  const database = await withAudit('sql_lane');
  const { engine } = await run(
    rules(database.url, {
      destinations: { audit: { sql: {}, retry: { attempts: 1 } } },
      observers: { order: { source: 'orders', order_by: 'key', actions: [{ sql: 'audit', statement: insert }] } },
    }),
  );
  await database.query('alter table audit add constraint small check (order_id < 3)');
  for (const id of [1, 2, 3]) await emit(database, { id }, 'k');
  await drained(database, 3);
  expect((await database.query('select order_id::int as n from audit order by id')).rows).toEqual([{ n: 1 }, { n: 2 }]);
  await database.query('alter table audit drop constraint small');
  await database.query('select observers.replay(id) from observers.dead_letters');
  await eventually('no dead letter', async () => (await count(database, 'dead_letters')) === 0);
  expect((await database.query('select from audit')).rowCount).toBe(3);
  expect(await count(database, 'lanes')).toBe(0);
  await engine.stop();
});

test('29: an action that writes to an observed table is cut at max_depth by a dead letter, which a replay runs', async () => {
  const database = await withAudit('sql_loop');
  const again = "select observers.emit('orders', jsonb_build_object('id', ${{ payload.id }}::int + 1))";
  const config = observing(database.url, [{ sql: 'audit', statement: again }], { sql: {} }, 3);
  const { attempts } = await run(config);
  await database.query(`begin; select set_config('observers.context', '{"user": "ada"}', true);
    select observers.emit('orders', '{"id": 1}'); commit`);
  const dead = await eventually('a dead letter', async () => {
    const { rows } = await database.query(
      'select id, reason, error_class, error_message, event, attempts, request from observers.dead_letters',
    );
    return rows[0];
  });
  expect(dead).toMatchObject({ reason: 'loop', error_class: 'loop', attempts: 1, event: { payload: { id: 4 } } });
  expect(dead.error_message).toContain('3 sql actions in a row');
  const { rows: events } = await database.query('select uid, context from observers.events order by id');
  const [first, second, third] = events.map(({ uid }) => uid);
  expect(events.map(({ context }) => context)).toEqual([
    { user: 'ada' },
    { user: 'ada', depth: 1, caused_by: first },
    { user: 'ada', depth: 2, caused_by: second },
    { user: 'ada', depth: 3, caused_by: third },
  ]);
  expect(attempts().map(({ outcome }) => outcome)).toEqual(['delivered', 'delivered', 'delivered', 'dead']);
  await database.query('select observers.replay($1)', [dead.id]);
  const next = await eventually('it went round again', async () => {
    const { rows } = await database.query('select event from observers.dead_letters where id <> $1', [dead.id]);
    return rows[0];
  });
  expect(next).toMatchObject({ event: { payload: { id: 7 }, context: { depth: 3 } } });
  expect(await count(database, 'dead_letters')).toBe(1);
});
