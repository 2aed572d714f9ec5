import type pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { QueueIndexes } from '../../src/transport/postgres/queue-indexes.ts';
import { drained, emitMany, eventually, migrated, receiver, rules, run } from '../deliver/fixture.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

/** So many deliveries leave more than a megabyte in the indexes. */
const burst = 20_000;
/** Migrated once for all of them. */
const origin = { template: (await migrated('queue_indexes')).name };
const never = new AbortController().signal;

/** For bursts that fit into a test. */
const tried = (database: TestDatabase, url = database.url, pool: pg.Pool = database.pool()) =>
  new QueueIndexes({ pool, url, quietMs: 0, worthBytes: 512 * 1024 });

test('the indexes are rebuilt once as little comes as is there, and a sidecar delivers beside it', async () => {
  const database = await createDatabase('rebuilt', origin);
  await leaveBehind(database);
  const hook = await receiver();
  await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url: hook.url } } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    }),
  );
  const indexes = tried(database);
  // What came before is not known yet; then the burst.
  expect(await indexes.keepSmall(never)).toBeNull();
  const [delivering, stop] = deliverMeanwhile(database);
  const rebuilt = await eventually('the rebuild', () => indexes.keepSmall(never));
  const sent = await stop();
  await delivering;
  await drained(database, sent);
  expect(rebuilt.indexes).toContain('observers.deliveries_pkey');
  expect(rebuilt.bytesBefore).toBeGreaterThan(1024 * 1024);
  expect(await indexBytes(database)).toBeLessThan(rebuilt.bytesBefore / 4);
  expect(new Set(hook.received.entries.map(({ messageId }) => messageId)).size).toBe(sent);
  expect(await leftovers(database)).toEqual([]);
  expect(await indexes.keepSmall(never)).toBeNull();
});

test('indexes that what waits, or what comes, will need again stay as they are', async () => {
  const database = await createDatabase('needed', origin);
  const indexes = tried(database);
  expect(await indexes.keepSmall(never)).toBeNull();
  await leaveBehind(database);
  expect(await indexes.keepSmall(never)).toBeNull();
  await queue(database);
  await known(database, 2 * burst);
  expect(await indexes.keepSmall(never)).toBeNull();
  expect(await indexes.keepSmall(never)).toBeNull();
  await database.query('delete from observers.deliveries');
  expect(await indexes.keepSmall(never)).not.toBeNull();
});

test('before a quiet time is over nothing is rebuilt', async () => {
  const database = await createDatabase('unquiet', origin);
  await leaveBehind(database);
  const indexes = new QueueIndexes({ pool: database.pool(), url: database.url, worthBytes: 512 * 1024 });
  expect(await indexes.keepSmall(never)).toBeNull();
  expect(await indexes.keepSmall(never)).toBeNull();
});

test('an index that a rebuild left behind is dropped, also when there is nothing to rebuild', async () => {
  const database = await createDatabase('left_over', origin);
  await leaveUnfinished(database);
  expect(await leftovers(database)).toEqual(['deliveries_pkey_ccnew']);
  expect(await tried(database).keepSmall(never)).toBeNull();
  expect(await leftovers(database)).toEqual([]);
});

test.each([
  ['reads', 'begin isolation level repeatable read; select 1'],
  ['holds the queue', 'begin; select from observers.deliveries'],
])('while a transaction is open that %s, nothing is rebuilt, and nobody waits', async (_, begin) => {
  const database = await createDatabase('long_open', origin);
  await leaveBehind(database);
  const indexes = tried(database);
  await indexes.keepSmall(never);
  const holder = await database.pool().connect();
  await holder.query(begin);
  expect(await indexes.keepSmall(never)).toBeNull();
  expect(await leftovers(database)).toEqual([]);
  await holder.query('commit');
  holder.release();
  expect(await indexes.keepSmall(never)).not.toBeNull();
});

test('a transaction that begins meanwhile is not waited for, and half an index stays until the next look at most', async () => {
  const database = await createDatabase('meanwhile', origin);
  await leaveBehind(database);
  const indexes = tried(database);
  await indexes.keepSmall(never);
  const holder = await database.pool().connect();
  // Between the look at the transactions and the rebuild: the lock of the table is free, its rows are not.
  const looked = eventually('the second look', () =>
    database
      .query(
        `select from pg_stat_activity where datname = current_database() and application_name = 'pg-observers upkeep'`,
      )
      .then(({ rowCount }) => (rowCount ?? 0) > 0),
  ).then(() => holder.query('begin; lock table observers.deliveries in row exclusive mode'));
  await indexes.keepSmall(never);
  await looked;
  await holder.query('rollback');
  holder.release();
  // What could not be dropped beside it.
  await indexes.keepSmall(never);
  expect(await leftovers(database)).toEqual([]);
});

test('of two instances one rebuilds', async () => {
  const database = await createDatabase('both', origin);
  await leaveBehind(database);
  const both = [tried(database), tried(database)];
  for (const one of both) await one.keepSmall(never);
  const rebuilt = await Promise.all(both.map((one) => one.keepSmall(never)));
  expect(rebuilt.filter((one) => one !== null)).toHaveLength(1);
});

test('a role that does not own the queue leaves it alone', async () => {
  const database = await createDatabase('not_owner', origin);
  await leaveBehind(database);
  await database.query(`
    do $$ begin create role index_guest; exception when duplicate_object then null; end $$;
    grant usage on schema observers to index_guest;
    grant select on all tables in schema observers to index_guest`);
  const indexes = tried(database, database.url, database.pool({ options: '-c role=index_guest' }));
  const before = await indexBytes(database);
  for (let round = 0; round < 3; round++) expect(await indexes.keepSmall(never)).toBeNull();
  expect(await indexBytes(database)).toBe(before);
});

test('aborted, it ends at once and whatever is left is dropped by the next', async () => {
  const database = await createDatabase('aborted', origin);
  await leaveBehind(database);
  const indexes = tried(database);
  await indexes.keepSmall(never);
  const stopping = new AbortController();
  const keeping = indexes.keepSmall(stopping.signal);
  await eventually('its session', async () => {
    const upkeep = `select from pg_stat_activity where datname = current_database() and application_name = 'pg-observers upkeep'`;
    return (await database.query(upkeep)).rowCount === 1;
  });
  stopping.abort();
  expect(await keeping).toBeNull();
});

/** Indexes as a burst of deliveries leaves them. */
async function leaveBehind(database: TestDatabase): Promise<void> {
  await queue(database);
  await database.query('delete from observers.deliveries');
  await database.query('vacuum observers.deliveries');
  await known(database, burst);
}

async function queue(database: TestDatabase): Promise<void> {
  await database.query(
    `insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, state, rule_version)
     select n, now(), gen_random_uuid(), 'o', 'a', 'd', 'ready', 'v' from generate_series(1, $1::int) n`,
    [burst],
  );
}

/** Until the statistics say that so many came. */
const known = (database: TestDatabase, came: number) =>
  eventually(`statistics of ${came} deliveries`, async () => {
    const { rows } = await database.query<{ n: number }>(
      `select pg_stat_get_tuples_inserted('observers.deliveries'::regclass)::float8 as n`,
    );
    return (rows[0]?.n ?? 0) >= came;
  });

/** A rebuild that gave up in the middle. */
async function leaveUnfinished(database: TestDatabase): Promise<void> {
  const holder = await database.pool().connect();
  await holder.query('begin isolation level repeatable read; select 1');
  const impatient = database.pool({ options: '-c lock_timeout=50ms' });
  await expect(impatient.query('reindex index concurrently observers.deliveries_pkey')).rejects.toThrow(/lock timeout/);
  await holder.query('commit');
  holder.release();
}

async function indexBytes(database: TestDatabase): Promise<number> {
  const { rows } = await database.query<{ bytes: number }>(
    `select pg_indexes_size('observers.deliveries')::float8 as bytes`,
  );
  return rows[0]?.bytes ?? Number.NaN;
}

async function leftovers(database: TestDatabase): Promise<readonly string[]> {
  const { rows } = await database.query<{ relname: string }>(
    `select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
     where i.indrelid = 'observers.deliveries'::regclass and not i.indisvalid`,
  );
  return rows.map(({ relname }) => relname);
}

/** Deliveries, a few at a time, until told to stop. @returns how many there were */
function deliverMeanwhile(database: TestDatabase): [Promise<void>, () => Promise<number>] {
  let stopped = false;
  let sent = 0;
  const delivering = (async () => {
    while (!stopped || sent === 0) {
      await emitMany(database, sent + 1, sent + 10);
      sent += 10;
    }
  })();
  onTestFinished(() => {
    stopped = true;
  });
  return [
    delivering,
    async () => {
      stopped = true;
      await delivering;
      return sent;
    },
  ];
}
