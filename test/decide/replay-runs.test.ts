/** `pg-observers replay`: past events decided again, beside the router. */

import { expect, onTestFinished, test } from 'vitest';
import { compileCondition } from '../../src/expression/index.ts';
import { type ReplayOptions, replayEvents } from '../../src/pipeline/decide/replayer.ts';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import {
  beginReplay,
  listReplays,
  openReplayLog,
  planReplay,
  type ReplayRequested,
  type ReplayRun,
  resumeReplay,
} from '../../src/transport/postgres/replay-runs.ts';
import type { TestDatabase } from '../support/database.ts';
import { drain, openSession, type Prepared, prepare, type Rules, startRouter, until } from './support.ts';

const table =
  "create table public.orders (id integer primary key, total integer not null default 0, note text not null default '1')";
const url = 'http://127.0.0.1:9/x';
const rulesOf = (observers: Rules['observers']): Rules => ({
  sources: { orders: { table: 'public.orders' }, signups: { topic: 'user.signup' } },
  observers,
});
const actions = [{ webhook: url }];
const plain = rulesOf({ all: { source: 'orders', actions }, other: { source: 'orders', actions } });

const asked: ReplayRequested = {
  since: '2000-01-01T00:00:00Z',
  until: null,
  observers: ['all'],
  condition: null,
  perSecond: null,
};

function poolOf(database: TestDatabase) {
  const pool = createPool(database.url, 3);
  onTestFinished(() => pool.end());
  return pool;
}

/** Only the observer `all`. */
function limited({ config }: Prepared) {
  return new RuleIndex({ ...config, observers: new Map([...config.observers].filter(([name]) => name === 'all')) });
}

const performing = (prepared: Prepared, run: ReplayRun, options: Partial<ReplayOptions> = {}) =>
  replayEvents(openReplayLog(poolOf(prepared.database), run, ['orders', 'user.signup']), {
    rules: limited(prepared),
    where: null,
    perSecond: null,
    dryRun: false,
    signal: new AbortController().signal,
    onProgress: () => {},
    ...options,
  });

const begin = async ({ database }: Prepared, more: Partial<ReplayRequested> = {}) => {
  const pool = poolOf(database);
  return beginReplay(pool, await planReplay(pool, null, { ...asked, ...more }));
};

async function routed(label: string, rules: Rules, inserts: string): Promise<Prepared> {
  const prepared = await prepare(label, table, rules);
  await prepared.database.query(inserts);
  const session = await openSession(prepared.database.url);
  await drain(session, prepared.rules);
  await session.close();
  return prepared;
}

async function replayed(database: TestDatabase) {
  const { rows } = await database.query<{ run: string; observer: string; keys: number[] }>(
    `select d.replay_run::text as run, d.observer, array_agg(e.key::int order by d.id) as keys
     from observers.deliveries d join observers.events e on e.id = d.event_id where d.replay_run is not null group by 1, 2 order by 1, 2`,
  );
  return rows;
}

const keys = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

test('a replay reaches the named observer, in the order of the log, as often as it is asked for', async () => {
  const prepared = await routed('run_twice', plain, 'insert into orders select n from generate_series(1, 2500) n');
  const { database } = prepared;
  const counted = await performing(prepared, await planReplay(poolOf(database), null, asked), { dryRun: true });
  expect(counted).toMatchObject({ end: 'finished', counts: { events: 2500, deliveries: 2500, faults: 0 } });
  expect(await replayed(database)).toEqual([]);
  for (const run of ['1', '2']) {
    expect(await performing(prepared, await begin(prepared))).toMatchObject({ end: 'finished' });
    expect((await replayed(database)).at(-1)).toEqual({ run, observer: 'all', keys: keys(2500) });
  }
  const { rows } = await database.query(
    'select count(*)::int as all, count(distinct (event_uid, observer, action))::int as distinct from observers.deliveries',
  );
  expect(rows).toEqual([{ all: 10_000, distinct: 5000 }]);
  expect(await listReplays(poolOf(database))).toMatchObject([
    { id: '2', events: '2500', deliveries: '2500', finished_at: expect.anything() },
    { id: '1' },
  ]);
  await expect(resumeReplay(poolOf(database), null, '1')).rejects.toThrow('Replay 1 is finished');
  await expect(resumeReplay(poolOf(database), null, '9')).rejects.toThrow('There is no replay 9');
});

test('only what lies within its time and matches `where`; a `where` that fails on an event leaves it out', async () => {
  const insert = (from: number, to: number) =>
    `insert into orders select n, n * 100, case when n = 7 then 'x' else '1' end from generate_series(${from}, ${to}) n`;
  const prepared = await routed('run_where', plain, `${insert(1, 9)};${insert(10, 10)}`);
  const { database } = prepared;
  const where = compileCondition('new.total > 500 && int(new.note) > 0');
  const { counts } = await performing(prepared, await begin(prepared), { where });
  expect(counts).toMatchObject({ events: 10, matching: 4, deliveries: 4, unclear: 1 });
  expect(await replayed(database)).toMatchObject([{ keys: [6, 8, 9, 10] }]);
  const { rows } = await database.query<{ at: string }>(
    'select to_char(max(created_at) at time zone \'UTC\', \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\') as at from observers.events',
  );
  const at = rows[0]?.at ?? '';
  expect((await performing(prepared, await begin(prepared, { until: at }))).counts.events).toBe(9);
  expect((await performing(prepared, await begin(prepared, { since: at }))).counts.events).toBe(1);
});

test('interrupted at any place, it is resumed without a gap and without a repeat', async () => {
  const prepared = await routed('run_resume', plain, 'insert into orders select n from generate_series(1, 1000) n');
  const { database } = prepared;
  let run = await begin(prepared, { perSecond: 1_000 });
  for (let n = 0; n < 3; n++) {
    const stop = new AbortController();
    let steps = 0;
    // Between a commit and the one after it, as a death would.
    const onProgress = () => {
      steps += 1;
      if (steps === 2) stop.abort();
    };
    const { end } = await performing(prepared, run, { perSecond: 1_000, signal: stop.signal, onProgress });
    expect(end).toBe('interrupted');
    run = await resumeReplay(poolOf(database), null, '1');
    expect(run).toMatchObject({ events: String((n + 1) * 200), per_second: 1_000 });
  }
  expect((await performing(prepared, run)).end).toBe('finished');
  expect(await replayed(database)).toEqual([{ run: '1', observer: 'all', keys: keys(1000) }]);
});

test('two processes that go on with one run: one is overtaken, nothing is doubled', async () => {
  const prepared = await routed('run_rivals', plain, 'insert into orders select n from generate_series(1, 3000) n');
  const run = await begin(prepared);
  const ends = await Promise.all([performing(prepared, run), performing(prepared, run)]);
  expect(ends.map(({ end }) => end)).toContain('overtaken');
  // The one that is left may have been overtaken too, by the other; then a third goes on.
  const left = await listReplays(poolOf(prepared.database));
  if (left[0]?.finished_at === null)
    await performing(prepared, await resumeReplay(poolOf(prepared.database), null, '1'));
  expect(await replayed(prepared.database)).toEqual([{ run: '1', observer: 'all', keys: keys(3000) }]);
});

test('while a router routes: each event is routed once and replayed once, or only routed when it came later', async () => {
  const prepared = await routed('run_beside', plain, 'insert into orders select n from generate_series(1, 3000) n');
  const { database } = prepared;
  const { routed: seen } = startRouter(prepared);
  let writing = true;
  const writer = (async () => {
    let id = 3000;
    for (; writing || id < 3200; id++) await database.query('insert into orders values ($1)', [id + 1]);
    return id;
  })();
  await until('it routes', () => seen.size > 20);
  const run = await begin(prepared);
  const { counts } = await performing(prepared, run, { onProgress: () => {} });
  writing = false;
  const written = await writer;
  await until('all are routed', () => seen.size === written - 3000);
  expect(counts.events).toBeGreaterThan(3000);
  expect(await replayed(database)).toEqual([{ run: '1', observer: 'all', keys: keys(counts.events) }]);
  const { rows } = await database.query(
    'select count(*)::int as all, count(distinct event_uid)::int as distinct from observers.deliveries where replay_run is null',
  );
  expect(rows).toEqual([{ all: written * 2, distinct: written }]);
});

test('what is not routed yet is left to the router', async () => {
  const prepared = await routed('run_unrouted', plain, 'insert into orders values (1), (2)');
  await prepared.database.query('insert into orders values (3)');
  await performing(prepared, await begin(prepared));
  expect(await replayed(prepared.database)).toMatchObject([{ keys: [1, 2] }]);
});

test('in a lane, replays wait behind what is there', async () => {
  const rules = rulesOf({ all: { source: 'orders', order_by: '"one"', actions } });
  const prepared = await routed('run_lane', rules, 'insert into orders select n from generate_series(1, 3) n');
  await performing(prepared, await begin(prepared));
  const { rows } = await prepared.database.query(
    'select state, event_id::int as event, replay_run::int as run from observers.deliveries order by id',
  );
  expect(rows).toEqual([
    { state: 'ready', event: 1, run: null },
    { state: 'blocked', event: 2, run: null },
    { state: 'blocked', event: 3, run: null },
    { state: 'blocked', event: 1, run: 1 },
    { state: 'blocked', event: 2, run: 1 },
    { state: 'blocked', event: 3, run: 1 },
  ]);
});

test('a condition that fails is one dead letter, however often it is replayed', async () => {
  const rules = rulesOf({ all: { source: 'orders', when: 'int(new.note) > 0', actions } });
  const prepared = await routed('run_faults', rules, "insert into orders values (1, 0, 'x'), (2, 0, '1')");
  for (let n = 0; n < 2; n++) {
    const { counts } = await performing(prepared, await begin(prepared));
    expect(counts).toMatchObject({ events: 2, deliveries: 1, faults: 1 });
  }
  const { rows } = await prepared.database.query('select count(*)::int as count from observers.dead_letters');
  expect(rows).toEqual([{ count: 1 }]);
});

test('messages of a topic are found under its name in the file; a copy of the database is refused', async () => {
  const rules = rulesOf({ all: { source: 'signups', when: 'event.source == "signups"', actions } });
  const prepared = await routed('run_topic', rules, "select observers.emit('user.signup', '1', key => '1')");
  await performing(prepared, await begin(prepared));
  expect(await replayed(prepared.database)).toMatchObject([{ keys: [1] }]);
  const pool = poolOf(prepared.database);
  await planReplay(pool, 'production', asked);
  await expect(planReplay(pool, 'staging', asked)).rejects.toThrow('belongs to the environment "production"');
});
