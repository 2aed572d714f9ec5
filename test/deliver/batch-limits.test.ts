/** Batches among everything else that decides what is sent when. */
import { expect, test } from 'vitest';
import type { ConfigInput } from '../../src/config/index.ts';
import type { ReceivedWebhook } from '../../src/receivers/webhook-receiver.ts';
import { disableDestination, enableDestination } from '../../src/transport/postgres/destination-holds.ts';
import { count, drained, emitMany, eventually, migrated, receiver, rules, run } from './fixture.ts';

type Hook = NonNullable<ConfigInput['destinations']>[string];

const itemsOf = ({
  body,
}: ReceivedWebhook): { webhook_id: string; tenant: string; data: { payload: { n: number } } }[] => JSON.parse(body);
const numbersOf = (request: ReceivedWebhook) => itemsOf(request).map(({ data }) => data.payload.n);
const batch = { max: 10, wait: '300ms' };

function batching(database: string, url: string, more: object = {}, observer: object = {}) {
  const hook = { webhook: { url }, batch, retry: { attempts: 8, initial: '10ms', max: '20ms' }, ...more } as Hook;
  return rules(database, {
    destinations: { hook },
    observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }], ...observer } },
  });
}

test('a batch holds what one tenant has, and a tenant with little waits for nobody', async () => {
  const database = await migrated('batchtenants');
  const { received, url } = await receiver();
  await run(batching(database.url, url, { concurrency: 2 }));
  for (const [tenant, events] of [
    ['a', 35],
    ['b', 3],
    ['c', 12],
  ]) {
    await database.query(
      `select count(observers.emit('orders', jsonb_build_object('n', n), tenant => $1)) from generate_series(1, $2::int) n`,
      [tenant, events],
    );
  }
  await emitMany(database, 1, 4);
  await drained(database, 54);
  const tenants = received.entries.map((request) => [...new Set(itemsOf(request).map(({ tenant }) => tenant))]);
  expect(tenants.every((those) => those.length === 1)).toBe(true);
  expect(received.entries.every((request) => itemsOf(request).length <= 10)).toBe(true);
  expect(received.total).toBeLessThanOrEqual(10);
});

test('one request is one sample of a breaker: while it is open nothing is spent, and a probe is one batch', async () => {
  const database = await migrated('batchbreaker');
  let broken = true;
  const { received, url } = await receiver({ respond: () => ({ status: broken ? 503 : 204 }) });
  const { told } = await run(
    batching(database.url, url, {
      concurrency: 1,
      circuit_breaker: { failure_rate: 0.5, minimum: 3, window: '10s', open_for: '300ms' },
    }),
  );
  const states = () => told.flatMap((event) => (event.type === 'breaker.changed' ? [event.state] : []));
  await emitMany(database, 1, 60);
  await eventually('a failed probe', () => states().filter((state) => state === 'open').length >= 2);
  // Three until it opened, and one for each probe.
  expect(received.total).toBeLessThanOrEqual(3 + states().filter((state) => state === 'half-open').length);
  broken = false;
  await drained(database, 60);
  const { rows } = await database.query<{ n: number }>('select count(*)::int as n from observers.attempts');
  expect(rows[0]?.n).toBe(received.entries.flatMap(numbersOf).length);
});

test('one request is one token of a rate limit', async () => {
  const database = await migrated('batchrate');
  const { received, url } = await receiver();
  await run(batching(database.url, url, { rate_limit: '10/s', batch: { max: 20, wait: '100ms' } }));
  await emitMany(database, 1, 200);
  await drained(database, 200);
  expect(received.total).toBe(10);
  const { rows } = await database.query<{ at: number }>(
    'select extract(epoch from started_at)::float8 * 1000 as at from observers.attempts order by 1',
  );
  // Ten requests at ten a second: the last one begins 0.9 s after the first, less what may be saved up.
  expect((rows.at(-1)?.at ?? 0) - (rows[0]?.at ?? 0)).toBeGreaterThan(750);
});

test('at a disabled destination batches wait, unclaimed and uncounted', async () => {
  const database = await migrated('batchheld');
  const { received, url } = await receiver();
  const { told } = await run(batching(database.url, url));
  await disableDestination(database.pool(), 'hook', 'a person');
  await eventually('that it is known', () => told.some(({ type }) => type === 'destination.disabled'));
  await emitMany(database, 1, 25);
  await eventually('the queue', async () => (await count(database, 'deliveries', "state = 'ready'")) === 25);
  await enableDestination(database.pool(), 'hook');
  await drained(database, 25);
  expect(received.entries.flatMap(numbersOf)).toHaveLength(25);
  expect(await count(database, 'attempts', 'attempt > 1')).toBe(0);
});

test('410 disables, and all of the batch wait', async () => {
  const database = await migrated('batchgone');
  let gone = true;
  const { received, url } = await receiver({ respond: () => ({ status: gone ? 410 : 204 }) });
  const { heard } = await run(batching(database.url, url));
  await emitMany(database, 1, 10);
  await heard('destination.disabled');
  await eventually(
    'what waits',
    async () => (await count(database, 'deliveries', "state = 'ready' and attempts = 1")) === 10,
  );
  expect(received.total).toBe(1);
  gone = false;
  await enableDestination(database.pool(), 'hook');
  await drained(database, 10);
  expect(received.entries[1]?.messageId).toBe(received.entries[0]?.messageId);
});

test('of an ordered lane a batch holds the head only, so the order stays', async () => {
  const database = await migrated('batchorder');
  const { received, url } = await receiver();
  await run(batching(database.url, url, { batch: { max: 10, wait: '20ms' } }, { order_by: 'key' }));
  await emitMany(database, 1, 12, '(n % 3)::text');
  await drained(database, 12);
  const arrived = received.entries.flatMap(numbersOf);
  for (const lane of [0, 1, 2]) {
    const ofLane = arrived.filter((n) => n % 3 === lane);
    expect(ofLane).toEqual([...ofLane].sort((a, b) => a - b));
  }
  expect(received.entries.some((request) => itemsOf(request).length === 3)).toBe(true);
});

test('a hanging receiver: every member timed out once, and comes again together', async () => {
  const database = await migrated('batchhang');
  const { received, url } = await receiver({
    respond: ({ number }) => (number === 1 ? new Promise(() => {}) : { status: 204 }),
  });
  await run(batching(database.url, url, { timeout: '200ms' }));
  await emitMany(database, 1, 10);
  await drained(database, 10);
  expect(await count(database, 'attempts', "error_class = 'timeout'")).toBe(10);
  expect(new Set(received.entries.map(({ messageId }) => messageId)).size).toBe(1);
});

test('a shutdown in the middle costs no attempt, and leaves nothing claimed', async () => {
  const database = await migrated('batchstop');
  const { received, url } = await receiver({
    respond: ({ number }) => (number === 1 ? new Promise(() => {}) : { status: 204 }),
  });
  const config = batching(database.url, url);
  const first = await run(config);
  await emitMany(database, 1, 15);
  await received.waitFor(1);
  await first.engine.stop({ timeoutMs: 0 });
  expect(await count(database, 'deliveries', "state = 'ready' and attempts = 0")).toBe(15);
  await run(config);
  await drained(database, 15);
  const ids = received.entries.flatMap(itemsOf).map(({ webhook_id }) => webhook_id);
  // Repeats only of what was under way, by the ids that they had.
  expect(new Set(ids).size).toBe(15);
  expect(ids.length).toBe(15 + itemsOf(received.entries[0] as ReceivedWebhook).length);
});

test('who died in a batch is replayed by the same id', async () => {
  const database = await migrated('batchreplay');
  let broken = true;
  const { received, url } = await receiver({ respond: () => ({ status: broken ? 400 : 204 }) });
  await run(batching(database.url, url));
  await emitMany(database, 1, 10);
  await eventually('dead letters', async () => (await count(database, 'dead_letters', 'attempts = 1')) === 10);
  const { rows } = await database.query<{ id: string | null }>(
    "select request -> 'headers' ->> 'webhook-id' as id from observers.dead_letters where event -> 'payload' ->> 'n' = '7'",
  );
  broken = false;
  await database.query(
    "select observers.replay(id) from observers.dead_letters where event -> 'payload' ->> 'n' in ('3', '7')",
  );
  await eventually('the replay', async () => (await count(database, 'dead_letters')) === 8);
  const replayed = received.entries.slice(1).flatMap(itemsOf);
  expect(replayed.map(({ data }) => data.payload.n).sort()).toEqual([3, 7]);
  expect(replayed.map(({ webhook_id }) => webhook_id)).toContain(rows[0]?.id);
});

test('two actions are two batches, and a fresh one is not held up by one that fails', async () => {
  const database = await migrated('batchactions');
  const { received, url } = await receiver({
    respond: ({ headers }) => ({ status: headers['x-which'] === 'one' ? 503 : 204 }),
  });
  const actions = ['one', 'two'].map((which) => ({ webhook: 'hook', name: which, headers: { 'x-which': which } }));
  await run(batching(database.url, url, { retry: { attempts: 2, initial: '10ms' } }, { actions }));
  await emitMany(database, 1, 10);
  await eventually('dead letters', async () => (await count(database, 'dead_letters')) === 10);
  await eventually('an empty queue', async () => (await count(database, 'deliveries')) === 0);
  expect(await count(database, 'dead_letters', "action = 'one' and reason = 'exhausted'")).toBe(10);
  for (const request of received.entries) expect(new Set(numbersOf(request)).size).toBe(itemsOf(request).length);
});
