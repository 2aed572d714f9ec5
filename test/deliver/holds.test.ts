import { expect, test } from 'vitest';
import type { ConfigInput } from '../../src/config/index.ts';
import type { Config } from '../../src/domain/rules.ts';
import { disableDestination, enableDestination } from '../../src/transport/postgres/destination-holds.ts';
import type { TestDatabase } from '../support/database.ts';
import {
  count,
  drained,
  emitMany,
  eventually,
  migrated,
  numberOf,
  type Running,
  receiver,
  rules,
  run,
} from './fixture.ts';

type Hook = NonNullable<ConfigInput['destinations']>[string];

/** Every event goes to `hook`, and to `other`, which shows that it was routed and claimed by whoever claims. */
function twoHooks(database: TestDatabase, hook: Hook, otherUrl: string): Config {
  return rules(database.url, {
    destinations: { hook, other: { webhook: { url: otherUrl } } },
    observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }, { webhook: 'other' }] } },
  });
}

const held = (running: Running, state: string) =>
  eventually(`${state} in every instance`, async () => {
    const { destinations } = await running.engine.status();
    return destinations.find(({ name }) => name === 'hook')?.state === state;
  });

async function row<T extends object>(database: TestDatabase, sql: string): Promise<T | undefined> {
  return (await database.query<T>(sql)).rows[0];
}

test('410 disables for all instances and beyond a restart; what waits loses no attempt, and goes on when it is enabled', async () => {
  const database = await migrated('gone');
  let gone = true;
  const hook = await receiver({ respond: () => ({ status: gone ? 410 : 204, body: 'moved away' }) });
  const other = await receiver();
  const config = twoHooks(database, { webhook: { url: hook.url }, concurrency: 1, retry: { attempts: 1 } }, other.url);
  const instances = [await run(config), await run(config)];
  await emitMany(database, 1, 1);
  for (const instance of instances) {
    const event = await instance.heard('destination.disabled');
    expect(event).toMatchObject({
      destination: 'hook',
      by: 'receiver',
      reason: expect.stringContaining('answered 410'),
    });
    await held(instance, 'disabled');
  }
  await emitMany(database, 2, 20);
  await other.received.waitFor(20);
  // Its only permitted attempt is made, and yet it waits: in the history, as one to be tried again.
  const waiting = (attempts: number) =>
    count(database, 'deliveries', `destination = 'hook' and state = 'ready' and attempts = ${attempts}`);
  await eventually('all of them queued', async () => (await waiting(0)) === 19 && (await waiting(1)) === 1);
  expect(hook.received.total).toBe(1);
  expect(
    await row(database, "select outcome, status, error_class from observers.attempts where destination = 'hook'"),
  ).toEqual({
    outcome: 'retry',
    status: 410,
    error_class: 'http_410',
  });
  expect(await row(database, 'select destinations_disabled from observers.status')).toEqual({
    destinations_disabled: ['hook'],
  });

  for (const { engine } of instances) await engine.stop();
  gone = false;
  const again = await run(config);
  await held(again, 'disabled');
  await emitMany(database, 21, 21);
  await other.received.waitFor(21);
  expect(hook.received.total).toBe(1);

  expect(await enableDestination(database.pool(), 'hook')).toBe(true);
  await again.heard('destination.enabled');
  await drained(database, 42);
  expect(new Set(hook.received.entries.map(numberOf)).size).toBe(21);
  expect(hook.received.total).toBe(22);
  expect(await count(database, 'dead_letters')).toBe(0);
});

test('a Retry-After with 429 pauses the destination for every instance, and costs the others no attempt', async () => {
  const database = await migrated('pause');
  const hook = await receiver({
    respond: ({ number }) => (number === 1 ? { status: 429, headers: { 'retry-after': '3600' } } : { status: 204 }),
  });
  const other = await receiver();
  const config = twoHooks(database, { webhook: { url: hook.url }, concurrency: 1, retry_after_max: '10m' }, other.url);
  const instances = [await run(config), await run(config)];
  await emitMany(database, 1, 1);
  for (const instance of instances) await held(instance, 'paused');
  await emitMany(database, 2, 30);
  await other.received.waitFor(30);
  expect(hook.received.total).toBe(1);
  expect(await count(database, 'deliveries', "destination = 'hook' and attempts = 0 and state = 'ready'")).toBe(29);
  // By the database's clock, and no longer than the file permits.
  const pause = await row<{ s: number; own: number }>(
    database,
    `select extract(epoch from paused_until - now())::float8 as s,
            (select extract(epoch from max(due_at) - now())::float8 from observers.deliveries where attempts = 1) as own
     from observers.destinations where name = 'hook' and disabled_at is null`,
  );
  expect(pause?.s).toBeGreaterThan(300);
  expect(pause?.s).toBeLessThanOrEqual(600);
  expect(pause?.own).toBeLessThanOrEqual(600);
  expect(await row(database, 'select destinations_paused from observers.status')).toEqual({
    destinations_paused: ['hook'],
  });
  // A person may end it: all but the one that was refused are due.
  await enableDestination(database.pool(), 'hook');
  await hook.received.waitFor(30);
  await eventually('only the refused one left', async () => (await count(database, 'deliveries')) === 1);
});

test('a pause ends by itself, without the poll', async () => {
  const database = await migrated('pause_end');
  const hook = await receiver({
    respond: ({ number }) => (number === 1 ? { status: 503, headers: { 'retry-after': '1' } } : { status: 204 }),
  });
  const other = await receiver();
  const { heard } = await run(
    twoHooks(database, { webhook: { url: hook.url }, concurrency: 1, retry: ['1ms'] }, other.url),
  );
  await emitMany(database, 1, 10);
  expect((await heard('destination.paused')).forMs).toBeGreaterThan(0);
  await drained(database, 20);
  expect(hook.received.total).toBe(11);
  expect(await count(database, 'dead_letters')).toBe(0);
});

test('a person disables it while attempts are in flight: these end, the rest waits and nothing stays claimed', async () => {
  const database = await migrated('by_person');
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const hook = await receiver({ respond: async () => released.then(() => ({ status: 204 })) });
  const other = await receiver();
  const running = await run(twoHooks(database, { webhook: { url: hook.url }, concurrency: 4 }, other.url));
  await emitMany(database, 1, 40);
  await hook.received.waitFor(4);
  expect(await disableDestination(database.pool(), 'hook', 'maintenance')).toBe(true);
  expect(await disableDestination(database.pool(), 'hook', 'a longer maintenance')).toBe(false);
  expect(await running.heard('destination.disabled')).toMatchObject({ by: 'person', reason: 'maintenance' });
  release();
  await other.received.waitFor(40);
  await eventually('36 that wait', async () => (await count(database, 'deliveries')) === 36);
  const waiting = "destination = 'hook' and state = 'ready' and attempts = 0";
  await eventually('no claims', async () => (await count(database, 'deliveries', waiting)) === 36);
  expect(hook.received.total).toBe(4);
  await database.query("delete from observers.destinations where name = 'hook'");
  await drained(database, 80);
  expect(hook.received.total).toBe(40);
});

test('told by nobody, an instance finds it out with its heartbeat', async () => {
  const database = await migrated('deaf');
  const hook = await receiver();
  const running = await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url: hook.url } } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
      settings: { instance_timeout: '400ms' },
    }),
  );
  await database.query('alter table observers.destinations disable trigger changed');
  await disableDestination(database.pool(), 'hook', null);
  await held(running, 'disabled');
  await enableDestination(database.pool(), 'hook');
  await held(running, 'enabled');
});

test('webhook-delivery: what the receiver asks for goes before the policy', async () => {
  const database = await migrated('asked');
  const hook = await receiver({
    respond: (request) => {
      const wish = { 1: 'abort-message', 2: 'disable', 3: 'abort-message' }[numberOf(request)] ?? '';
      return { status: numberOf(request) === 1 ? 503 : 200, headers: { 'webhook-delivery': wish } };
    },
  });
  const other = await receiver();
  const running = await run(twoHooks(database, { webhook: { url: hook.url } }, other.url));
  await emitMany(database, 1, 1);
  await eventually('a dead letter', async () => (await count(database, 'dead_letters', "reason = 'rejected'")) === 1);
  await emitMany(database, 2, 2);
  expect(await running.heard('destination.disabled')).toMatchObject({
    reason: 'the receiver asked for it (webhook-delivery: disable)',
  });
  await held(running, 'disabled');
  // It was taken all the same: nothing waits.
  await eventually('an empty queue', async () => (await count(database, 'deliveries')) === 0);
  await enableDestination(database.pool(), 'hook');
  await emitMany(database, 3, 3);
  await drained(database, 6);
  expect(hook.received.total).toBe(3);
});

test('max_age: no attempt after it, whether it passes between two or while the destination is disabled', async () => {
  const database = await migrated('max_age');
  const hook = await receiver({ respond: () => ({ status: 500 }) });
  const other = await receiver();
  const retry = { attempts: 100, initial: '50ms', factor: 1, jitter: 'none', max_age: '1s' } as const;
  const running = await run(twoHooks(database, { webhook: { url: hook.url }, retry }, other.url));
  await emitMany(database, 1, 1);
  await eventually('a dead letter', async () => (await count(database, 'dead_letters')) === 1);
  const dead = await row<{ attempts: number }>(database, 'select * from observers.dead_letters');
  // At the end of an attempt, or, on a busy machine, instead of one that came too late.
  const late = /not tried again: .*(more than 1 s after it was queued|it was queued more than 1 s ago) \(`max_age`\)$/;
  expect(dead).toMatchObject({ reason: 'exhausted', error_message: expect.stringMatching(late) });
  expect(dead?.attempts).toBe(hook.received.total);
  expect(dead?.attempts).toBeLessThan(30);

  await disableDestination(database.pool(), 'hook', null);
  await held(running, 'disabled');
  await emitMany(database, 2, 3);
  await other.received.waitFor(3);
  // One was tried before; the other one has its first attempt coming.
  await database.query(
    `update observers.deliveries set created_at = now() - interval '2 days', attempts = (id = (select min(id) from observers.deliveries where destination = 'hook'))::int
     where destination = 'hook'`,
  );
  const before = hook.received.total;
  await enableDestination(database.pool(), 'hook');
  await eventually('two more', async () => (await count(database, 'dead_letters', "reason = 'exhausted'")) === 3);
  expect(hook.received.total).toBe(before + 1);
  expect(
    await row(
      database,
      'select attempts, error_message from observers.dead_letters where http_status is null order by id desc',
    ),
  ).toEqual({
    attempts: 1,
    error_message: 'not tried again: it was queued more than 1 s ago (`max_age`)',
  });
});

test('a schedule is as many attempts as delays, and one', async () => {
  const database = await migrated('schedule');
  const hook = await receiver({ respond: () => ({ status: 500 }) });
  const other = await receiver();
  const { attempts } = await run(twoHooks(database, { webhook: { url: hook.url }, retry: ['7ms', '11ms'] }, other.url));
  await emitMany(database, 1, 1);
  await eventually('a dead letter', async () => (await count(database, 'dead_letters', "reason = 'exhausted'")) === 1);
  expect(hook.received.total).toBe(3);
  expect(attempts().flatMap(({ destination, retryInMs }) => (destination === 'hook' ? [retryInMs] : []))).toEqual([
    7,
    11,
    null,
  ]);
});

test('a lane of an ordered destination keeps its head, and its order, over a disabling', async () => {
  const database = await migrated('held_order');
  let gone = true;
  const hook = await receiver({ respond: () => ({ status: gone ? 410 : 204 }) });
  const running = await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url: hook.url } } },
      observers: { all: { source: 'orders', order_by: '"one"', actions: [{ webhook: 'hook' }] } },
    }),
  );
  await emitMany(database, 1, 5);
  await held(running, 'disabled');
  await eventually(
    'the head back',
    async () => (await count(database, 'deliveries', "state = 'ready' and attempts = 1")) === 1,
  );
  gone = false;
  await enableDestination(database.pool(), 'hook');
  await drained(database, 5);
  expect(hook.received.entries.map(numberOf)).toEqual([1, 1, 2, 3, 4, 5]);
});
