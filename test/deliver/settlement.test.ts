import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { connectionConfig } from '../../src/transport/postgres/connection.ts';
import { createDeliveryQueue } from '../../src/transport/postgres/delivery-queue.ts';
import type { TestDatabase } from '../support/database.ts';
import { settlementOf } from '../support/settlement.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { count, drained, emit, emitMany, eventually, migrated, receiver, rules, run } from './fixture.ts';

/** Counts what a server-side rule sees of the statements that settle: every one of them inserts history once. */
async function countSettlements(database: TestDatabase): Promise<() => Promise<number>> {
  await database.query(`
    create sequence public.settlements;
    create function public.count_settlement() returns trigger language plpgsql as
      $$ begin perform nextval('public.settlements'); return null; end $$;
    create trigger counted after insert on observers.attempts for each statement execute function public.count_settlement()`);
  return async () => {
    const { rows } = await database.query<{ n: number }>(
      'select case when is_called then last_value else 0 end::int as n from public.settlements',
    );
    return rows[0]?.n ?? 0;
  };
}

test('outcomes are written in batches', async () => {
  const database = await migrated('batches');
  const statements = await countSettlements(database);
  const { url } = await receiver();
  await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url }, concurrency: 100 } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    }),
  );
  await emitMany(database, 1, 2_000);
  await drained(database, 2_000);
  expect(await statements()).toBeLessThan(500);
});

test('an outcome that meets an outage is kept, written later, and counted once', async () => {
  const database = await migrated('outage');
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  const answers: (() => void)[] = [];
  const { url, received } = await receiver({
    respond: ({ number }) =>
      new Promise((resolve) => {
        const answer = () => resolve({ status: number % 5 === 0 ? 500 : 204 });
        if (number <= 20) answers.push(answer);
        else answer();
      }),
  });
  const { told } = await run(
    rules(proxy.through(database.url), {
      destinations: { hook: { webhook: { url }, concurrency: 20, retry: { attempts: 2, initial: '10ms' } } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
      settings: { instance_timeout: '60s' },
    }),
  );
  await emitMany(database, 1, 20);
  await received.waitFor(20);
  await proxy.refuse();
  proxy.cut();
  for (const answer of answers) answer();
  await eventually('all outcomes', () => told.filter(({ type }) => type === 'attempt.finished').length === 20);
  expect(await count(database, 'attempts')).toBe(0);
  expect(await count(database, 'deliveries', "state = 'claimed'")).toBe(20);
  await proxy.resume();
  await drained(database, 20);
  // Nothing went out twice because its outcome could not be written: four retries are four retries.
  expect(received.total).toBe(24);
  const { rows } = await database.query(
    'select attempt, outcome, count(*)::int as n from observers.attempts group by 1, 2 order by 1, 2',
  );
  const again = received.entries.slice(20).filter(({ number }) => number % 5 === 0).length;
  expect(rows.slice(0, 2)).toEqual([
    { attempt: 1, outcome: 'delivered', n: 16 },
    { attempt: 1, outcome: 'retry', n: 4 },
  ]);
  expect(await count(database, 'dead_letters')).toBe(again);
});

test('connections cut again and again: no delivery is lost, stuck or counted twice', async () => {
  const database = await migrated('cuts');
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  const { url, received } = await receiver();
  await run(
    rules(proxy.through(database.url), {
      destinations: { hook: { webhook: { url }, concurrency: 8 } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
      settings: { instance_timeout: '60s', poll_interval: '100ms' },
    }),
  );
  await emitMany(database, 1, 3_000);
  // In the middle of the work, and again as it comes back. Not by the clock: a machine that takes longer to connect than we take
  // to cut would deliver nothing, ever.
  for (let cutAt = 100; cutAt <= 1_500; cutAt += 100) {
    await eventually('more of them', () => received.total >= cutAt);
    const back = proxy.nextConnection();
    proxy.cut();
    await back;
    proxy.cut();
  }
  await drained(database, 3_000, 40_000);
  const { rows } = await database.query('select count(*)::int as n, max(attempt) as most from observers.attempts');
  // A delivery may repeat (its claim's answer was lost and so on), but each attempt is written once.
  expect(rows).toEqual([{ n: 3_000, most: 1 }]);
  expect(new Set(received.entries.map(({ messageId }) => messageId)).size).toBe(3_000);
}, 60_000);

test('poisoned answers and requests stall nobody', async () => {
  const database = await migrated('poison');
  const poison = ['\u0000', '\ud800', '\\u0000', '\ud800\\u0000 \udfff', 'x'.repeat(1_000_000)];
  const { url } = await receiver({
    respond: ({ number, body }) => {
      const [text = ''] = poison.filter((_, i) => i === number % poison.length);
      return {
        status: body.includes('"fine"') ? 204 : 400,
        body: Buffer.concat([Buffer.from(text), Buffer.from([0xff, 0xc3, 0])]),
      };
    },
  });
  await run(
    rules(database.url, {
      observers: {
        all: { source: 'orders', actions: [{ webhook: url, body: { x: '${{ payload.x }}', '\ud800': 'key' } }] },
      },
    }),
  );
  for (const x of ['\\u0000', 'fine', 'ud800', 'fine', 'é\ufffd', 'fine']) await emit(database, { x });
  await drained(database, 6);
  expect(await count(database, 'dead_letters', "reason = 'rejected' and request ->> 'body' like '%key%'")).toBe(3);
  expect(await count(database, 'attempts', "outcome = 'delivered'")).toBe(3);
});

test('a dead letter that can not be written stays a delivery, is counted, and is written when that works', async () => {
  const database = await migrated('refused');
  await database.query(`
    create function public.no_letters() returns trigger language plpgsql as $$ begin raise 'no letters today'; end $$;
    create trigger refused before insert on observers.dead_letters for each row execute function public.no_letters()`);
  const { url } = await receiver({ respond: ({ path }) => ({ status: path === '/bad' ? 400 : 204 }) });
  const { told } = await run(
    rules(database.url, {
      observers: { all: { source: 'orders', actions: [{ webhook: `${url}/bad` }, { webhook: `${url}/good` }] } },
    }),
  );
  await emitMany(database, 1, 20);
  await eventually('all good ones', async () => (await count(database, 'attempts', "outcome = 'delivered'")) === 20);
  const waiting = () =>
    count(database, 'deliveries', "state = 'ready' and attempts = 1 and due_at > now() + interval '50 s'");
  await eventually('the others back in the queue', async () => (await waiting()) === 20);
  const { rows } = await database.query('select distinct last_error from observers.deliveries');
  expect(rows).toEqual([{ last_error: 'its dead letter could not be stored: no letters today' }]);
  expect(told.filter(({ type }) => type === 'settlement.refused')).toHaveLength(20);
  await database.query('drop trigger refused on observers.dead_letters');
  await database.query(
    "update observers.deliveries set due_at = now(); select pg_notify('pg_observers_wake', 'deliveries')",
  );
  await eventually('all dead letters', async () => (await count(database, 'dead_letters')) === 20);
  expect(await count(database, 'deliveries')).toBe(0);
});

test('the queue hands one delivery to one claimer, and settles by lease', async () => {
  const database = await migrated('claims');
  await database.query(
    `insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, state, rule_version)
     select n, now(), gen_random_uuid(), 'o', 'a', 'd' || n % 3, 'ready', 'v' from generate_series(1, 3000) n`,
  );
  const wish = ['d0', 'd1', 'd2', 'nobody'].map((destination) => ({ destination, slots: 7 }));
  const claimers = Array.from({ length: 6 }, () => {
    const pool = database.pool({ max: 2 });
    return createDeliveryQueue({ durable: pool, claims: pool }, crypto.randomUUID());
  });
  const claims = await Promise.all(
    claimers.map(async (queue) => {
      const mine: string[] = [];
      for (;;) {
        const { claimed } = await queue.claim(wish);
        if (claimed.length === 0) return mine;
        expect(claimed.length).toBeLessThanOrEqual(21);
        mine.push(...claimed.map(({ delivery }) => delivery.id));
      }
    }),
  );
  const all = claims.flat();
  expect([all.length, new Set(all).size]).toEqual([3_000, 3_000]);
  expect(claims.filter((mine) => mine.length > 0).length).toBeGreaterThan(1);
});

/** So many deliveries of nobody's lane that wait for `d`. */
async function queueOf(label: string, deliveries: number) {
  const database = await migrated(label);
  const pool = new pg.Pool({ connectionString: database.url });
  onTestFinished(() => pool.end());
  await database.query(
    `insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, state, rule_version)
     select n, now(), gen_random_uuid(), 'o', 'a', 'd', 'ready', 'v' from generate_series(1, $1::int) n`,
    [deliveries],
  );
  return { database, queue: createDeliveryQueue({ durable: pool, claims: pool }, crypto.randomUUID()) };
}

test('a settlement whose lease is past changes nothing, and a repeated one counts once', async () => {
  const { database, queue } = await queueOf('leases', 1);
  const claim = async () => (await queue.claim([{ destination: 'd', slots: 1 }])).claimed[0]?.delivery;
  const first = await claim();
  if (first === undefined) throw new Error('nothing was claimed');
  const failed = settlementOf(first, 'retry');
  expect(await queue.settle([failed])).toEqual(new Set([first.id]));
  // The answer to that was lost, so it is written again.
  expect(await queue.settle([failed])).toEqual(new Set());
  const second = await claim();
  expect(second).toMatchObject({ id: first.id, attempts: 1 });
  expect(await queue.settle([{ ...failed, kind: 'delivered' }])).toEqual(new Set());
  expect(await queue.release([first], 0)).toBe(0);
  expect(await queue.releaseUnknown([first.id])).toBe(0);
  expect(await count(database, 'attempts')).toBe(1);
  expect(await count(database, 'deliveries', "state = 'claimed'")).toBe(1);
  expect(await queue.releaseUnknown([])).toBe(1);
  expect((await claim())?.attempts).toBe(1);
});

test('of a batch of plain outcomes those are named that others had not taken over', async () => {
  const { database, queue } = await queueOf('fenced_in_batch', 3);
  const { claimed } = await queue.claim([{ destination: 'd', slots: 3 }]);
  const [first, second, third] = claimed.map(({ delivery }) => delivery.id);
  await database.query('update observers.deliveries set lease = lease + 1 where id = $1', [second]);
  expect(await queue.settle(claimed.map(({ delivery }) => settlementOf(delivery)))).toEqual(new Set([first, third]));
  expect(await count(database, 'deliveries')).toBe(1);
  expect(await count(database, 'attempts')).toBe(2);
});

test('claiming a few reads a few, however many are queued', async () => {
  const database = await migrated('claim_plan');
  await database.query(
    `insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, state, rule_version)
     select n, now(), gen_random_uuid(), 'o', 'a', 'd', 'ready', 'v' from generate_series(1, 20000) n`,
  );
  await database.query('vacuum analyze observers.deliveries');
  const client = new pg.Client(connectionConfig(database.url, 'test'));
  onTestFinished(() => client.end());
  await client.connect();
  await client.query('begin');
  // In one transaction, whose own counters are exact.
  const pool = client as unknown as pg.Pool;
  const queue = createDeliveryQueue({ durable: pool, claims: pool }, crypto.randomUUID());
  for (const slots of [10, 20]) {
    const { claimed } = await queue.claim([{ destination: 'd', slots }]);
    expect(claimed).toHaveLength(slots);
  }
  const { rows } = await client.query<{ read: number }>(
    "select (seq_tup_read + idx_tup_fetch)::int as read from pg_stat_xact_user_tables where relname = 'deliveries'",
  );
  await client.query('rollback');
  expect(rows[0]?.read).toBeLessThan(200);
});
