/**
 * Writers that commit late, roll back, use savepoints, two-phase commit, bulk statements and long transactions, all on the
 * same few rows, while routing connections are killed. Every committed update raises `v` by one, so the rows themselves
 * say which events there must be, and in which order.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { expect, test } from 'vitest';
import { decide } from '../../src/pipeline/decide/decide.ts';
import { sqlState } from '../../src/transport/postgres/failures.ts';
import type { TestDatabase } from '../support/database.ts';
import { hotRules, hotTable, killRouters, openRival, type Prepared, prepare, startRouter, until } from './support.ts';

const stormMs = 6_000;
const random = (below: number) => Math.floor(Math.random() * below);

test('two rival sessions without the lock, killed at random, route every event once and in order', async () => {
  const prepared = await prepare('storm_rivals', hotTable, hotRules(false));
  const { database } = prepared;
  const naive = naiveReader(database);
  const rivals = [new RivalLoop(prepared), new RivalLoop(prepared)];
  const killed = await storm(database);
  await allRouted(database);
  await Promise.all(rivals.map((rival) => rival.stop()));
  const lost = await naive.lost();
  const { events } = await checkRouting(database);
  const refused = rivals.reduce((sum, rival) => sum + rival.refused, 0);
  console.log(
    `storm, rivals: ${events} events, ${killed} connections killed, ${refused} commits refused, naive reader lost ${lost}`,
  );
  // Else the storm proves nothing.
  expect(lost).toBeGreaterThan(0);
  expect(killed).toBeGreaterThan(10);
  expect(refused).toBeGreaterThan(0);
}, 60_000);

test('two routers, killed at random, route every event once and in order', async () => {
  const prepared = await prepare('storm_routers', hotTable, hotRules(false));
  const { database } = prepared;
  const naive = naiveReader(database);
  const routers = [startRouter(prepared), startRouter(prepared)];
  const killed = await storm(database);
  await allRouted(database);
  await Promise.all(routers.map(({ router }) => router.stop()));
  const lost = await naive.lost();
  const { events } = await checkRouting(database);
  console.log(`storm, routers: ${events} events, ${killed} connections killed, naive reader lost ${lost}`);
  expect(lost).toBeGreaterThan(0);
  expect(killed).toBeGreaterThan(10);
  expect(routers.flatMap(({ told }) => told).filter((event) => event.type === 'stage.failed')).toEqual([]);
}, 60_000);

/** Reads and commits as fast as it can on a connection that never asked for the router's place. */
class RivalLoop {
  refused = 0;
  #stopping = false;
  readonly #done: Promise<void>;

  constructor(prepared: Prepared) {
    this.#done = this.#run(prepared);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#done;
  }

  async #run(prepared: Prepared): Promise<void> {
    while (!this.#stopping) {
      try {
        await this.#routeUntilRefused(prepared);
      } catch {
        // Killed: the next session goes on from the checkpoint.
      }
    }
  }

  async #routeUntilRefused({ database, rules }: Prepared): Promise<void> {
    const session = await openRival(database.url, { pages: { eventsPerSlice: 20, idsPerDelta: 50 } });
    try {
      while (!this.#stopping) {
        const events = await session.read();
        if (events.length === 0) await sleep(1);
        else if (!(await session.commit(decide(events, rules)))) {
          this.refused += 1;
          return;
        }
      }
    } finally {
      await session.close();
    }
  }
}

/** The usual recipe: `id > last`. */
function naiveReader(database: TestDatabase) {
  const seen = new Set<string>();
  let stopping = false;
  const run = async () => {
    let last = '0';
    while (!stopping) {
      const { rows } = await database.query<{ id: string }>(
        'select id::text from observers.events where id > $1 order by id limit 1000',
        [last],
      );
      for (const { id } of rows) seen.add(id);
      last = rows.at(-1)?.id ?? last;
      await sleep(2);
    }
  };
  const running = run();
  return {
    lost: async () => {
      stopping = true;
      await running;
      const { rows } = await database.query<{ id: string }>('select id::text from observers.events');
      const last = Math.max(...[...seen].map(Number));
      return rows.filter(({ id }) => Number(id) < last && !seen.has(id)).length;
    },
  };
}

/** @returns how many routing connections were killed */
async function storm(database: TestDatabase): Promise<number> {
  const end = performance.now() + stormMs;
  let killed = 0;
  const killer = async () => {
    while (performance.now() < end) {
      await sleep(50 + random(150));
      killed += await killRouters(database);
    }
  };
  await Promise.all([killer(), ...Array.from({ length: 12 }, (_, n) => writer(database.url, n, end))]);
  return killed;
}

async function writer(url: string, number: number, end: number): Promise<void> {
  const client = new pg.Client({ connectionString: url, options: '-c deadlock_timeout=20ms' });
  await client.connect();
  try {
    for (let n = 0; performance.now() < end; n++) await disturb(client, `storm_${number}_${n}`);
  } finally {
    await client.end();
  }
}

const update = 'update public.hot set v = v + 1 where id = $1';

async function disturb(client: pg.Client, gid: string): Promise<void> {
  const kind = random(20);
  try {
    await client.query('begin');
    if (kind === 0) await client.query('update public.hot set v = v + 1 where id % 5 = $1', [random(5)]);
    else await client.query(update, [1 + random(40)]);
    await sleep(kind === 1 ? 800 : random(12));
    if (kind === 2) return void (await client.query('rollback'));
    if (kind === 3 || kind === 4) await savepoints(client, kind === 3);
    if (kind === 5 || kind === 6) return await twoPhases(client, gid, kind === 5);
    await client.query('commit');
  } catch (error) {
    // Rows are locked in any order: deadlocks are part of it.
    if (sqlState(error) !== '40P01') throw error;
    await client.query('rollback');
  }
}

async function savepoints(client: pg.Client, back: boolean): Promise<void> {
  await client.query('savepoint a');
  await client.query(update, [1 + random(40)]);
  await client.query(back ? 'rollback to savepoint a' : 'release savepoint a');
  await client.query(update, [1 + random(40)]);
}

async function twoPhases(client: pg.Client, gid: string, commit: boolean): Promise<void> {
  const name = `${client.database}_${gid}`;
  await client.query(`prepare transaction '${name}'`);
  await sleep(random(60));
  await client.query(`${commit ? 'commit' : 'rollback'} prepared '${name}'`);
}

async function allRouted(database: TestDatabase): Promise<void> {
  await until('every event has its delivery', async () => {
    const { rows } = await database.query<{ rest: number }>(
      'select ((select count(*) from observers.events) - (select count(*) from observers.deliveries))::int as rest',
    );
    return (rows[0]?.rest ?? 1) <= 0;
  });
}

/** Every event has one delivery, and per row the deliveries count up from 1 to what the row came to. */
async function checkRouting(database: TestDatabase): Promise<{ events: number }> {
  const { rows } = await database.query<{ id: number; v: number; routed: number[] }>(`
    select h.id, h.v, coalesce(array_agg((e.new ->> 'v')::int order by d.id) filter (where d.id is not null), '{}') as routed
    from public.hot h
    left join observers.events e on e.key = h.id::text
    left join observers.deliveries d on d.event_id = e.id
    group by h.id, h.v order by h.id`);
  for (const { id, v, routed } of rows) {
    expect({ id, routed }).toEqual({ id, routed: Array.from({ length: v }, (_, n) => n + 1) });
  }
  const { rows: counts } = await database.query<{ events: number; deliveries: number }>(
    'select (select count(*)::int from observers.events) as events, (select count(*)::int from observers.deliveries) as deliveries',
  );
  expect(counts[0]?.deliveries).toBe(counts[0]?.events);
  return { events: counts[0]?.events ?? 0 };
}
