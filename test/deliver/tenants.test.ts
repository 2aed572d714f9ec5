/** Tenants of one destination, with real receivers. */
import { expect, test } from 'vitest';
import type { ReceivedWebhook } from '../../src/receivers/webhook-receiver.ts';
import type { TestDatabase } from '../support/database.ts';
import { count, drained, eventually, migrated, receiver, rules, run } from './fixture.ts';

/** So many events of a tenant, in one transaction. */
async function emitOf(database: TestDatabase, tenant: string | null, events: number): Promise<void> {
  await database.query(
    `select count(observers.emit('orders', jsonb_build_object('n', n), tenant => $1)) from generate_series(1, $2::int) n`,
    [tenant, events],
  );
}

const tenantOf = ({ body }: ReceivedWebhook): string => JSON.parse(body).tenant ?? '–';

const ofAll = { all: { source: 'orders', actions: [{ webhook: 'hook' }] } };

test('a backlog of one tenant holds up neither another one nor what has none', async () => {
  const database = await migrated('fair');
  const { url, received } = await receiver({ respond: () => ({ status: 204, delayMs: 5 }) });
  await run(rules(database.url, { destinations: { hook: { webhook: { url }, concurrency: 2 } }, observers: ofAll }));
  await emitOf(database, 'big', 600);
  await eventually('a backlog', async () => (await count(database, 'deliveries', "state = 'ready'")) > 400);
  const before = received.total;
  await emitOf(database, 'small', 1);
  await emitOf(database, null, 1);
  await drained(database, 602);
  const order = received.entries.map(tenantOf);
  expect(order).toHaveLength(602);
  // Behind what was claimed ahead when they came, and their turn; not behind the hundreds before them in the queue.
  for (const one of ['small', '–']) expect(order.indexOf(one), one).toBeLessThan(before + 200);
});

test("a tenant's breaker parks its deliveries without attempts and leaves the others alone", async () => {
  const database = await migrated('tenant_breaker');
  let broken = true;
  const { url, received } = await receiver({
    respond: (request) => ({ status: broken && tenantOf(request) === 'bad' ? 503 : 204 }),
  });
  const { engine, told } = await run(
    rules(database.url, {
      destinations: {
        hook: {
          webhook: { url },
          concurrency: 4,
          retry: { attempts: 20, initial: '1ms', max: '5ms' },
          circuit_breaker: { minimum: 4, window: '10s', open_for: '200ms', open_for_max: '200ms', per: 'tenant' },
        },
      },
      observers: ofAll,
      settings: { instance_timeout: '2s' },
    }),
  );
  await emitOf(database, 'bad', 300);
  const open = await eventually('an open breaker', () =>
    told.find((event) => event.type === 'breaker.changed' && event.state === 'open'),
  );
  expect(open).toMatchObject({ destination: 'hook', tenant: 'bad', openForMs: 200 });
  await emitOf(database, 'good', 100);
  await emitOf(database, null, 20);
  const fine = () => received.entries.filter((one) => tenantOf(one) !== 'bad').length;
  await eventually('the others', () => fine() === 120);
  const published = await eventually('the breaker in the table', async () => {
    const [instance] = (await engine.status()).instances;
    return instance?.breakers[0];
  });
  expect(published).toMatchObject({ destination: 'hook', tenant: 'bad' });
  // Those that opened it, and one for each probe.
  const probes = told.filter((event) => event.type === 'breaker.changed' && event.state === 'half-open').length;
  expect(received.total - fine()).toBeLessThanOrEqual(8 + probes);
  expect(await count(database, 'deliveries', "tenant = 'bad' and attempts = 0")).toBeGreaterThanOrEqual(280);
  await eventually('nothing held in memory', () =>
    engine.status().then(({ destinations: [hook] }) => hook?.waiting === 0),
  );
  broken = false;
  await drained(database, 420);
  expect(await count(database, 'dead_letters')).toBe(0);
});

test('half-open, each of two instances has one probe in flight, whatever waits', async () => {
  const database = await migrated('probes');
  let [probing, inFlight, most] = [false, 0, 0];
  const { url } = await receiver({
    respond: async () => {
      if (!probing) return { status: 503 };
      inFlight += 1;
      most = Math.max(most, inFlight);
      await new Promise((go) => setTimeout(go, 100));
      inFlight -= 1;
      return { status: 503 };
    },
  });
  const config = rules(database.url, {
    destinations: {
      hook: {
        webhook: { url },
        concurrency: 10,
        retry: { attempts: 50, initial: '1ms', max: '5ms' },
        circuit_breaker: { minimum: 4, window: '10s', open_for: '100ms', open_for_max: '100ms' },
      },
    },
    observers: ofAll,
    settings: { poll_interval: '100ms' },
  });
  const instances = await Promise.all([run(config), run(config)]);
  await emitOf(database, 'a', 200);
  await emitOf(database, null, 200);
  const opened = ({ told }: (typeof instances)[number]) =>
    told.filter((event) => event.type === 'breaker.changed' && event.state === 'open').length;
  await eventually('both open', () => instances.every((one) => opened(one) >= 1));
  await eventually('nothing in flight', async () => (await count(database, 'deliveries', "state = 'claimed'")) === 0);
  probing = true;
  await eventually('failed probes of both', () => instances.every((one) => opened(one) >= 4));
  expect(most).toBeLessThanOrEqual(2);
  expect(await count(database, 'deliveries', 'attempts = 0')).toBeGreaterThan(300);
});

test('a rate for each tenant, and one for a tenant at all destinations; nobody waits for the poll', async () => {
  const database = await migrated('tenant_rate');
  const { url, received } = await receiver();
  const hook = (path: string) => ({ webhook: { url: `${url}${path}` }, tenant_rate_limit: '100/s' });
  await run(
    rules(database.url, {
      destinations: { one: hook('/one'), two: hook('/two') },
      observers: { all: { source: 'orders', actions: [{ webhook: 'one' }, { webhook: 'two' }] } },
      settings: { tenants: { overrides: { slow: { max_rate: '50/s' } } } },
    }),
  );
  await emitOf(database, 'slow', 30);
  await emitOf(database, 'other', 30);
  await emitOf(database, null, 200);
  await drained(database, 520);
  expect(received.total).toBe(520);
  const startsOf = async (where: string) => {
    const { rows } = await database.query<{ at: number }>(
      `select extract(epoch from started_at)::float8 * 1000 as at from observers.attempts where ${where} order by 1`,
    );
    return rows.map(({ at }) => at);
  };
  // In no half second more than the rate's half, and what may be saved up.
  const densest = (starts: readonly number[]) =>
    Math.max(...starts.map((at) => starts.filter((other) => other >= at && other < at + 500).length));
  expect(densest(await startsOf("tenant = 'slow'"))).toBeLessThanOrEqual(25 + 5 + 2);
  expect(densest(await startsOf("tenant = 'other' and destination = 'one'"))).toBeLessThanOrEqual(50 + 10 + 2);
});
