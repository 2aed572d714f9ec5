import { expect, test } from 'vitest';
import { count, drained, emitMany, eventually, migrated, numberOf, receiver, rules, run } from './fixture.ts';

test('a rate limit holds for its destination alone, and never waits for the poll', async () => {
  const database = await migrated('rate');
  const limited = await receiver();
  const free = await receiver();
  await run(
    rules(database.url, {
      destinations: { limited: { webhook: { url: limited.url }, rate_limit: '50/s' } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'limited' }, { webhook: free.url }] } },
    }),
  );
  await emitMany(database, 1, 100);
  await free.received.waitFor(100);
  expect(limited.received.total).toBeLessThan(100);
  await drained(database, 200);
  // By the sender's clock: on a busy machine, requests that left one after the other arrive together.
  const { rows } = await database.query<{ at: number }>(
    `select extract(epoch from started_at)::float8 * 1000 as at from observers.attempts where destination = 'limited' order by 1`,
  );
  const starts = rows.map(({ at }) => at);
  expect(starts).toHaveLength(100);
  // In no window more than its rate and what may be saved up, a tenth of a second's worth.
  for (const [i, at] of starts.entries()) {
    expect(starts.slice(i).filter((other) => other < at + 900).length).toBeLessThanOrEqual(45 + 5 + 2);
  }
});

test('a breaker parks deliveries without spending attempts, probes with one, and closes', async () => {
  const database = await migrated('breaker');
  let broken = true;
  const { url, received } = await receiver({ respond: () => ({ status: broken ? 503 : 204 }) });
  const fine = await receiver();
  const { engine, told } = await run(
    rules(database.url, {
      destinations: {
        hook: {
          webhook: { url },
          concurrency: 2,
          retry: { attempts: 5, initial: '1ms' },
          circuit_breaker: { failure_rate: 0.5, minimum: 4, window: '10s', open_for: '300ms' },
        },
      },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }, { webhook: fine.url }] } },
    }),
  );
  const states = () => told.flatMap((event) => (event.type === 'breaker.changed' ? [event.state] : []));
  await emitMany(database, 1, 50);
  await fine.received.waitFor(50);
  await eventually('two failed probes', () => states().filter((state) => state === 'open').length >= 3);
  // Four or five until it opened (two at a time), then one for each probe.
  const probes = states().filter((state) => state === 'half-open').length;
  expect(received.total).toBeLessThanOrEqual(6 + probes);
  expect(await count(database, 'deliveries', "destination = 'hook' and attempts = 0")).toBeGreaterThanOrEqual(40);
  await eventually('nothing claimed', async () => (await count(database, 'deliveries', "state = 'claimed'")) === 0);
  const breaker = (await engine.status()).destinations.find(({ name }) => name === 'hook')?.breaker;
  expect(breaker).not.toBe('closed');
  broken = false;
  await drained(database, 100);
  expect(await count(database, 'dead_letters')).toBe(0);
  expect(states().at(-1)).toBe('closed');
  expect((await engine.status()).destinations.find(({ name }) => name === 'hook')?.breaker).toBe('closed');
  const before = received.total;
  await emitMany(database, 51, 60);
  await drained(database, 120);
  expect(received.total).toBe(before + 10);
});

test('a probe that can not be rendered does not keep the breaker half-open for ever', async () => {
  const database = await migrated('probe');
  let broken = true;
  const { url, received } = await receiver({ respond: () => ({ status: broken ? 503 : 204 }) });
  const { told } = await run(
    rules(database.url, {
      destinations: {
        hook: {
          webhook: { url },
          concurrency: 1,
          retry: { attempts: 9, initial: '2s', jitter: 'none' },
          circuit_breaker: { failure_rate: 1, minimum: 1, window: '10s', open_for: '100ms' },
        },
      },
      observers: {
        all: { source: 'orders', actions: [{ webhook: 'hook', body: { sum: '${{ payload.n + 1.0 }}' } }] },
      },
    }),
  );
  await emitMany(database, 1, 1);
  await eventually('an open breaker', () => told.some((e) => e.type === 'breaker.changed' && e.state === 'open'));
  broken = false;
  await database.query(`select observers.emit('orders', '{"n": "no number"}')`);
  await eventually('its fault', async () => (await count(database, 'dead_letters', "reason = 'engine_fault'")) === 1);
  await emitMany(database, 2, 3);
  await drained(database, 4);
  expect(received.total).toBe(4);
});

test('lanes: first in, first out per key; a head that retries holds up its key alone, and a dead one is skipped', async () => {
  const database = await migrated('lanes');
  const order = new Map<string, number[]>();
  const { url } = await receiver({
    respond: (request) => {
      const { key } = JSON.parse(request.body);
      const n = numberOf(request);
      order.set(key, [...(order.get(key) ?? []), n]);
      // The second of key 1 never works; the third of key 2 works at its second attempt.
      const failing =
        (key === '1' && n === 12) || (key === '2' && n === 23 && order.get(key)?.filter((m) => m === n).length === 1);
      return { status: failing ? 500 : 204 };
    },
  });
  const config = rules(database.url, {
    destinations: { hook: { webhook: { url }, retry: { attempts: 3, initial: '50ms', jitter: 'none' } } },
    observers: { all: { source: 'orders', order_by: 'key', actions: [{ webhook: 'hook' }] } },
    settings: { poll_interval: '1s' },
  });
  await Promise.all([run(config), run(config)]);
  await database.query(
    `select observers.emit('orders', jsonb_build_object('n', k * 10 + n), k::text)
     from generate_series(1, 6) n cross join generate_series(1, 40) k`,
  );
  await drained(database, 240);
  const inOrder = (k: number) => [1, 2, 3, 4, 5, 6].map((n) => k * 10 + n);
  expect(order.get('1')).toEqual([11, 12, 12, 12, 13, 14, 15, 16]);
  expect(order.get('2')).toEqual([21, 22, 23, 23, 24, 25, 26]);
  for (let k = 3; k <= 40; k++) expect(order.get(String(k))).toEqual(inOrder(k));
  expect(await count(database, 'dead_letters', "reason = 'exhausted'")).toBe(1);
  expect(await count(database, 'lanes')).toBe(0);
});

test('a lane moves on without waiting for the poll', async () => {
  const database = await migrated('lane_pace');
  const { url, received } = await receiver();
  await run(
    rules(database.url, { observers: { all: { source: 'orders', order_by: '"one"', actions: [{ webhook: url }] } } }),
  );
  await emitMany(database, 1, 100);
  await drained(database, 100);
  expect(received.entries.map(numberOf)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
});
