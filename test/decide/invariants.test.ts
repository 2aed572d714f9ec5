/** Invariants of routing that are told nowhere else by name; the others stand in reader, storm, wake, look-cost and lanes. */

import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { decide } from '../../src/pipeline/decide/decide.ts';
import { connectionConfig } from '../../src/transport/postgres/connection.ts';
import { resumeRouting } from '../../src/transport/postgres/routing-session.ts';
import { deltaQuery } from '../../src/transport/postgres/routing-sql.ts';
import { drained, emitMany, migrated, numberOf, receiver, rules as rulesOf, run } from '../deliver/fixture.ts';
import type { TestDatabase } from '../support/database.ts';
import { connect, drain, hotRules, hotTable, openRival, prepare } from './support.ts';

const update = 'update public.hot set v = v + 1 where id <= $1';
const keys = (events: readonly { key: string | null }[]) => events.map(({ key }) => key);

/** Deliveries without an event, and second ones of an (event, observer, action). */
async function wrongDeliveries(database: TestDatabase): Promise<unknown[]> {
  const { rows } = await database.query(`
    select d.event_uid, count(*) from observers.deliveries d
    left join observers.events e on e.id = d.event_id and e.uid = d.event_uid
    group by d.event_uid, d.observer, d.action having count(*) > 1 or bool_or(e.id is null)`);
  return rows;
}

test('a router that stood still while another one routed is rejected by the version, and goes on from where that one came to', async () => {
  const { database, rules } = await prepare('invariants_frozen', hotTable, hotRules(false));
  const frozen = await openRival(database.url);
  await database.query(update, [5]);
  const read = await frozen.read();
  expect(read).toHaveLength(5);
  const other = await openRival(database.url);
  await drain(other, rules);
  await database.query(update, [2]);
  expect(await frozen.commit(decide(read, rules))).toBeNull();
  const { rows } = await database.query('select from observers.deliveries');
  expect(rows).toHaveLength(5);
  await frozen.close();
  const resumed = await openRival(database.url);
  expect(keys(await drain(resumed, rules))).toEqual(['1', '2']);
  expect(await wrongDeliveries(database)).toEqual([]);
  await other.close();
  await resumed.close();
});

test('killed before or after any statement of a round, routing loses nothing and doubles nothing', async () => {
  const { database, rules } = await prepare('invariants_kill', hotTable, hotRules(false));
  const pages = { eventsPerDelta: 2, eventsPerSlice: 3, idsPerDelta: 4 };
  let written = 0;
  let killed = 0;
  for (let statement = 0; statement < 10; statement++) {
    for (const moment of ['before', 'after'] as const) {
      await database.query(update, [7]);
      written += 7;
      const client = new DoomedClient(connectionConfig(database.url, 'router'), statement, moment, database);
      client.on('error', () => {});
      await client.connect();
      await resumeRouting(client, { pages })
        .then((session) => drain(session, rules))
        .catch(() => {});
      killed += client.killed ? 1 : 0;
      await client.end().catch(() => {});
      const successor = await openRival(database.url, { pages });
      await drain(successor, rules);
      await successor.close();
      const { rows } = await database.query('select from observers.deliveries');
      expect({ statement, moment, deliveries: rows.length }).toEqual({ statement, moment, deliveries: written });
      expect(await wrongDeliveries(database)).toEqual([]);
    }
  }
  expect(killed).toBeGreaterThan(12);
});

/** Its connection is cut around its nth statement. */
class DoomedClient extends pg.Client {
  killed = false;
  #left: number;
  readonly #moment: 'before' | 'after';
  readonly #database: TestDatabase;

  constructor(config: pg.ClientConfig, statement: number, moment: 'before' | 'after', database: TestDatabase) {
    super(config);
    this.#left = statement;
    this.#moment = moment;
    this.#database = database;
  }

  // biome-ignore lint/suspicious/noExplicitAny: node-postgres declares a dozen overloads
  override query(...args: any[]): any {
    const ask = () => Reflect.apply(super.query, this, args);
    if (this.#left-- !== 0) return ask();
    this.killed = true;
    const kill = () =>
      this.#database.query('select pg_terminate_backend($1)', [(this as unknown as { processID: number }).processID]);
    return this.#moment === 'before' ? kill().then(ask) : ask().then((result: unknown) => kill().then(() => result));
  }
}

test('what the receiver of our own action writes to an observed source is captured, routed and delivered', async () => {
  const database = await migrated('invariants_own');
  const hooks = await receiver({
    respond: async (request) => {
      const n = numberOf(request);
      if (n < 5) await emitMany(database, n + 1, n + 1);
      return { status: 204 };
    },
  });
  await run(rulesOf(database.url, { observers: { all: { source: 'orders', actions: [{ webhook: hooks.url }] } } }));
  await emitMany(database, 1, 1);
  await drained(database, 5);
  expect(hooks.received.entries.map(numberOf)).toEqual([1, 2, 3, 4, 5]);
});

test('under an old snapshot, without a vacuum, a look at the log reads a few pages however much was routed since', async () => {
  const { database, rules } = await prepare('invariants_bloat', hotTable, hotRules(false));
  await database.query('alter table observers.checkpoints set (autovacuum_enabled = off)');
  const old = await connect(database.url);
  await old.query('begin isolation level repeatable read; select 1');
  const asked: unknown[][] = [];
  const session = await openRival(database.url, {}, asked);
  onTestFinished(() => session.close());
  for (let n = 0; n < 500; n++) {
    await database.query('update public.hot set v = v + 1 where id = 1');
    await drain(session, rules);
  }
  await database.query('update public.hot set v = v + 1 where id = 1');
  await session.read();
  const looker = await connect(database.url);
  await looker.query('set enable_seqscan = off; set search_path = pg_catalog');
  const { rows } = await looker.query<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
    `explain (analyze, buffers, format json) ${deltaQuery}`,
    [...(asked.at(-1) ?? [])],
  );
  const plan = rows[0]?.['QUERY PLAN'][0].Plan;
  expect(plan?.['Actual Rows']).toBe(1);
  expect((plan?.['Shared Hit Blocks'] ?? 0) + (plan?.['Shared Read Blocks'] ?? 0)).toBeLessThan(100);
  await old.query('commit');
});
