/** The gap-free reader, step by step: which events it sees when, across commits, restarts and page limits. */

import { expect, test } from 'vitest';
import { decide } from '../../src/pipeline/decide/decide.ts';
import type { PageSizes } from '../../src/transport/postgres/page-sizes.ts';
import type { TestDatabase } from '../support/database.ts';
import {
  connect,
  drain,
  hotRules,
  hotTable,
  killRouters,
  nothing,
  openRival,
  openSession,
  prepare,
} from './support.ts';

const update = 'update public.hot set v = v + 1 where id = $1';
const keys = (events: readonly { key: string | null }[]) => events.map(({ key }) => key);

test('a transaction that commits behind a higher id is read then, and delays nobody', async () => {
  const { database, rules } = await prepare('reader_late', hotTable, hotRules(false));
  const session = await openSession(database.url);
  const late = await connect(database.url);
  await late.query('begin');
  await late.query(update, [1]);
  await database.query(update, [2]);
  expect(keys(await drain(session, rules))).toEqual(['2']);
  await database.query(update, [3]);
  expect(keys(await drain(session, rules))).toEqual(['3']);
  await late.query(update, [4]);
  await late.query('commit');
  expect(keys(await drain(session, rules))).toEqual(['1', '4']);
  expect(await drain(session, rules)).toEqual([]);
});

test('across a restart between the two commits', async () => {
  const { database, rules } = await prepare('reader_restart', hotTable, hotRules(false));
  const late = await connect(database.url);
  await late.query('begin');
  await late.query(update, [1]);
  await database.query(update, [2]);
  const first = await openSession(database.url);
  expect(keys(await drain(first, rules))).toEqual(['2']);
  await first.close();
  await late.query('commit');
  expect(keys(await drain(await openSession(database.url), rules))).toEqual(['1']);
});

test('rollbacks and savepoints: an event if and only if its change committed', async () => {
  const { database, rules } = await prepare('reader_savepoints', hotTable, hotRules(false));
  const session = await openSession(database.url);
  const writer = await connect(database.url);
  await writer.query('begin');
  await writer.query(update, [1]);
  await writer.query('rollback');
  await writer.query('begin');
  await writer.query('savepoint a');
  await writer.query(update, [2]);
  await writer.query('rollback to savepoint a');
  await writer.query(update, [3]);
  await writer.query('savepoint b');
  await writer.query(update, [4]);
  await writer.query('release savepoint b');
  expect(await drain(session, rules)).toEqual([]);
  await writer.query('commit');
  expect(keys(await drain(session, rules))).toEqual(['3', '4']);
});

test('a prepared transaction is read when it is committed, also after a restart', async () => {
  const { database, rules } = await prepare('reader_prepared', hotTable, hotRules(false));
  const writer = await connect(database.url);
  for (const [row, name] of [
    [1, 'kept'],
    [2, 'dropped'],
  ] as const) {
    await writer.query('begin');
    await writer.query(update, [row]);
    await writer.query(`prepare transaction '${database.name}_${name}'`);
  }
  const first = await openSession(database.url);
  await database.query(update, [3]);
  expect(keys(await drain(first, rules))).toEqual(['3']);
  await first.close();
  const second = await openSession(database.url);
  expect(await drain(second, rules)).toEqual([]);
  await writer.query(`rollback prepared '${database.name}_dropped'`);
  await writer.query(`commit prepared '${database.name}_kept'`);
  expect(keys(await drain(second, rules))).toEqual(['1']);
});

const limits: readonly Partial<PageSizes>[] = [
  { idsPerDelta: 4, eventsPerSlice: 2 },
  { idsPerDelta: 4, eventsPerSlice: 3 },
  { idsPerDelta: 4, eventsPerSlice: 4, eventsPerDelta: 0 },
  { idsPerDelta: 4, eventsPerSlice: 9, eventsPerDelta: 4 },
  { idsPerDelta: 1, eventsPerSlice: 1 },
  { bytesPerSlice: 1, eventsPerDelta: 0 },
];

const paged = await prepare('reader_pages', hotTable, hotRules(false));

test.each(limits)(
  'page limits %j: every event once and in order, with a restart after every commit or none',
  async (pages) => {
    const { database, rules } = paged;
    for (const restart of [true, false]) {
      for (const count of [1, 4, 5, 8]) {
        await database.query('update public.hot set v = v + 1 where id <= $1', [count]);
        const routed: string[] = [];
        let session = await openSession(database.url, { pages });
        for (let events = await session.read(); events.length > 0; events = await session.read()) {
          // Seen by the target or not: it must neither disturb the pages nor come twice.
          if (routed.length === 0) await database.query('update public.hot set v = v + 1 where id = 40');
          expect(await session.commit(decide(events, rules))).not.toBeNull();
          routed.push(...events.map(({ key }) => key ?? ''));
          if (restart) {
            await session.close();
            session = await openSession(database.url, { pages });
          }
        }
        await session.close();
        // A statement takes its rows in the order of the heap, which changes with each of these updates.
        const { rows } = await database.query<{ key: string }>(
          'select key from (select id, key from observers.events order by id desc limit $1) as newest order by id',
          [count + 1],
        );
        expect({ restart, count, routed }).toEqual({ restart, count, routed: rows.map(({ key }) => key) });
        expect(new Set(routed).size).toBe(count + 1);
      }
    }
    const { rows } = await database.query<{ same: boolean }>(
      'select (select count(*) from observers.events) = (select count(distinct event_id) from observers.deliveries) and (select count(*) = count(distinct event_id) from observers.deliveries) as same',
    );
    expect(rows[0]?.same).toBe(true);
  },
);

test('a restart in the middle of a target stores it, and goes on behind the last event', async () => {
  const { database, rules } = await prepare('reader_middle', hotTable, hotRules(false));
  await database.query('update public.hot set v = v + 1 where id <= 5');
  const first = await openSession(database.url, { pages: { eventsPerSlice: 2 } });
  await first.commit(decide(await first.read(), rules));
  await first.close();
  const middle = await checkpoint(database);
  expect(middle.target).not.toBeNull();
  expect(middle.after_id).not.toBe('0');
  await database.query(update, [9]);
  expect(keys(await drain(await openSession(database.url), rules))).toEqual(['3', '4', '5', '9']);
  expect(await checkpoint(database)).toMatchObject({ target: null, after_id: '0' });
});

test('of two sessions that read the same events, the one that commits second writes nothing', async () => {
  const { database, rules } = await prepare('reader_rivals', hotTable, hotRules(false));
  await database.query('update public.hot set v = v + 1 where id <= 3');
  const [slow, quick] = [await openRival(database.url), await openRival(database.url)];
  const read = await slow.read();
  expect(keys(await drain(quick, rules))).toEqual(['1', '2', '3']);
  const before = await checkpoint(database);
  // As if it had been stopped (SIGSTOP) in between, however long.
  expect(await slow.commit(decide(read, rules))).toBeNull();
  expect(await checkpoint(database)).toEqual(before);
  expect(await count(database, 'deliveries')).toBe(3);
  await Promise.all([slow.close(), quick.close()]);
});

test('a session whose connection is killed between read and commit writes nothing, and the next one routes it all', async () => {
  const { database, rules } = await prepare('reader_killed', hotTable, hotRules(false));
  await database.query('update public.hot set v = v + 1 where id <= 3');
  const first = await openSession(database.url);
  const read = await first.read();
  expect(await killRouters(database)).toBe(1);
  await expect(first.commit(decide(read, rules))).rejects.toThrow();
  await first.close();
  expect(await count(database, 'deliveries')).toBe(0);
  expect(keys(await drain(await openSession(database.url), rules))).toEqual(['1', '2', '3']);
});

test('the version only grows, and nothing is written while nothing happens', async () => {
  const { database, rules } = await prepare(
    'reader_quiet',
    `${hotTable}; create table public.other (n integer)`,
    hotRules(false),
  );
  const session = await openSession(database.url);
  let version = -1;
  for (const row of [1, 2, 3]) {
    await database.query(update, [row]);
    await drain(session, rules);
    const now = await checkpoint(database);
    expect(Number(now.version)).toBeGreaterThan(version);
    version = Number(now.version);
    for (let n = 0; n < 5; n++) {
      // Other transactions come and go, without events.
      await database.query('insert into public.other values (1)');
      expect(await session.read()).toEqual([]);
      expect(await session.commit(nothing)).not.toBeNull();
    }
    expect(await checkpoint(database)).toEqual(now);
  }
});

test('events that the router writes by its own commit are routed next', async () => {
  const { database, rules } = await prepare('reader_own', hotTable, hotRules(false));
  await database.query(`
    create function public.echo() returns trigger language plpgsql as $$
    begin
      if new.event_id = (select min(id) from observers.events) then
        insert into observers.events (source, operation, key) values ('hot', 'insert', 'echo of ' || new.event_uid);
      end if;
      return null;
    end $$;
    create trigger echo after insert on observers.deliveries for each row execute function public.echo()`);
  const session = await openSession(database.url);
  await database.query(update, [1]);
  const [first, echo, ...others] = await drain(session, rules);
  expect(first?.key).toBe('1');
  expect(echo?.key).toBe(`echo of ${first?.uid}`);
  expect(others).toEqual([]);
});

test('at every instant the deliveries are the matches of the events that the checkpoint covers', async () => {
  const { database, rules } = await prepare('reader_instant', hotTable, hotRules(false));
  const session = await openSession(database.url, { pages: { eventsPerSlice: 3, idsPerDelta: 7 } });
  let writing = true;
  const writers = [1, 2, 3].map(async (n) => {
    const writer = await connect(database.url);
    for (let i = 0; i < 60; i++)
      await writer.query('update public.hot set v = v + 1 where id % 10 = $1', [(i + n) % 10]);
  });
  const written = Promise.all(writers).then(() => {
    writing = false;
  });
  const routing = (async () => {
    while (writing || (await session.read()).length > 0) await drain(session, rules);
  })();
  let looks = 0;
  while (writing) {
    const { rows } = await database.query<{ missing: number; early: number }>(instant);
    expect(rows[0]).toEqual({ missing: 0, early: 0 });
    looks += 1;
  }
  await Promise.all([written, routing]);
  expect(looks).toBeGreaterThan(3);
  expect(await count(database, 'deliveries')).toBe(await count(database, 'events'));
});

/** One statement, one snapshot: events below the checkpoint without a delivery, and above it with one. */
const instant = `
  select (count(*) filter (where covered and d.id is null))::int as missing,
         (count(*) filter (where not covered and d.id is not null))::int as early
  from observers.checkpoints c
  cross join observers.events e
  cross join lateral (select pg_visible_in_snapshot(e.xid, c.snapshot)
    or coalesce(pg_visible_in_snapshot(e.xid, c.target) and e.id <= c.after_id, false)) as x(covered)
  left join observers.deliveries d on d.event_id = e.id`;

async function checkpoint(database: TestDatabase) {
  const { rows } = await database.query<{
    snapshot: string;
    target: string | null;
    after_id: string;
    version: string;
    xmin: string;
  }>('select snapshot::text, target::text, after_id::text, version::text, xmin::text from observers.checkpoints');
  const row = rows[0];
  if (row === undefined) throw new Error('no checkpoint');
  return row;
}

async function count(database: TestDatabase, table: 'events' | 'deliveries'): Promise<number> {
  const { rows } = await database.query<{ count: number }>(`select count(*)::int as count from observers.${table}`);
  return rows[0]?.count ?? -1;
}
