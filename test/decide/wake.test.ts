/** The wake-up protocol: no change waits for the poll, a busy system does not notify, and no writer ever waits. */

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { connectionConfig } from '../../src/transport/postgres/connection.ts';
import { createListener } from '../../src/transport/postgres/listener.ts';
import { wakeChannel } from '../../src/transport/postgres/locks.ts';
import { connect, drain, hotRules, hotTable, openSession, prepare, startRouter, until, wakeUps } from './support.ts';

const prepared = await prepare('wake', hotTable, hotRules(true));
const { database, rules } = prepared;
const update = 'update public.hot set v = v + 1 where id = $1 returning v';

/** All ways to run two sequences side by side: R for the router's next step, W for the writer's. */
function interleavings(router: number, writer: number): string[] {
  if (router === 0) return ['W'.repeat(writer)];
  if (writer === 0) return ['R'.repeat(router)];
  return [
    ...interleavings(router - 1, writer).map((rest) => `R${rest}`),
    ...interleavings(router, writer - 1).map((rest) => `W${rest}`),
  ];
}

test.each(interleavings(3, 3))('read, lie down, read beside begin, update, commit in the order %s', async (order) => {
  const heard = await wakeUps(database.url);
  const session = await openSession(database.url);
  const writer = await connect(database.url);
  await drain(session, rules);
  let read = 0;
  let asleep = false;
  const look = async () => {
    read += (await drain(session, rules)).length;
  };
  const router = [
    look,
    async () => {
      asleep = await session.fallAsleep();
    },
    look,
  ];
  const writing = ['begin', 'update public.hot set v = v + 1 where id = 1', 'commit'];
  for (const step of order) {
    if (step === 'R') await router.shift()?.();
    else await writer.query(writing.shift() ?? '');
  }
  // Refused, because a writer was on its way that had seen it awake: it keeps looking, and may lie down afterwards.
  if (!asleep) {
    expect(order).toMatch(/W.*R.*W/);
    await look();
    expect(await session.fallAsleep()).toBe(true);
    await look();
  }
  if (read === 0) await until('the writer wakes the router', () => heard.length > 0);
  await look();
  expect(read).toBe(1);
  await session.close();
});

test('thousands of single commits around the router’s falling asleep: none waits for the poll', async () => {
  const waiting = new Map<string, () => void>();
  startListening(
    startRouter(prepared, {
      pollIntervalMs: () => 300_000,
      telemetry: (event) => {
        if (event.type !== 'events.routed') return;
        for (const { record } of event.events) waiting.get(`${record.key} ${JSON.parse(record.new ?? '{}').v}`)?.();
      },
    }).router,
  );
  const writers = Array.from({ length: 4 }, async (_, n) => {
    const writer = await connect(database.url);
    for (let i = 0; i < 500; i++) {
      await writer.query('begin');
      const { rows } = await writer.query<{ v: number }>(update, [10 + n]);
      const routed = new Promise<void>((resolve) => waiting.set(`${10 + n} ${rows[0]?.v}`, resolve));
      await writer.query('commit');
      await routed;
      // From within the stream to well after the router went to sleep.
      await sleep(Math.random() ** 2 * 45);
    }
  });
  // One lost wake-up alone would take the five minutes of the poll.
  const lost = sleep(100_000, 'a change waited for the poll', { ref: false });
  expect(await Promise.race([Promise.all(writers).then(() => 'all routed'), lost])).toBe('all routed');
}, 120_000);

test('a transaction that comes in many slices is routed to its end, though it notified once', async () => {
  const { router, routed } = startRouter(prepared, {
    pollIntervalMs: () => 300_000,
    session: { pages: { eventsPerSlice: 3, idsPerDelta: 10 } },
  });
  startListening(router);
  await until('the router sleeps', isAsleep);
  await database.query('update public.hot set v = v + 1 where id <= 25');
  await until('every event is routed', () => routed.size === 25);
});

test('a busy system does not notify', async () => {
  const heard = await wakeUps(database.url);
  const { router, routed } = startRouter(prepared, { pollIntervalMs: () => 30_000 });
  startListening(router);
  await until('the router sleeps', isAsleep);
  const events = 4_000;
  const writers = Array.from({ length: 8 }, async (_, n) => {
    const writer = await connect(database.url);
    for (let i = 0; i < events / 8; i++) await writer.query(update, [20 + n]);
  });
  await Promise.all(writers);
  await until('every event is routed', () => routed.size >= events);
  console.log(`${heard.length} notifications for ${events} events`);
  expect(heard.length).toBeGreaterThan(0);
  expect(heard.length).toBeLessThan(events / 20);
}, 40_000);

test('a single change does not wake the router up for good: it is routed asleep, with one notification', async () => {
  const heard = await wakeUps(database.url);
  const { router, routed } = startRouter(prepared, { pollIntervalMs: () => 30_000 });
  startListening(router);
  await until('the router sleeps', isAsleep);
  await database.query(update, [1]);
  await until('it is routed', () => routed.size === 1);
  expect(await isAsleep()).toBe(true);
  expect(heard).toEqual(['']);
});

test('a router frozen in its sleep blocks no writer, and loses its place', async () => {
  const frozen = await openSession(database.url, { idleTimeoutMs: 2_000 });
  expect(await frozen.fallAsleep()).toBe(true);
  const writer = await connect(database.url);
  await writer.query("set lock_timeout = '1s'; set statement_timeout = '2s'");
  for (let n = 0; n < 50; n++) await writer.query(update, [2]);
  await until('the server ends the session of the frozen router', async () => !(await isAsleep()));
  // Another one gets the place, and what was written meanwhile.
  const { routed } = startRouter(prepared);
  await until('its successor routes', () => routed.size === 50);
  await expect(frozen.read()).rejects.toThrow();
});

test('a frozen router that is awake blocks no writer either, and what they write is found', async () => {
  const frozen = await openSession(database.url, { idleTimeoutMs: 1_000 });
  await frozen.read();
  const writer = await connect(database.url);
  for (let n = 0; n < 10; n++) await writer.query(update, [3]);
  const { routed } = startRouter(prepared);
  await until('its successor routes', () => routed.size === 10);
});

test('all notifications lost: polling routes', async () => {
  // Nobody listens for this router.
  const { routed } = startRouter(prepared, { pollIntervalMs: () => 50 });
  await until('the router sleeps', isAsleep);
  for (let n = 0; n < 20; n++) await database.query(update, [4]);
  await until('every event is routed', () => routed.size === 20);
});

test('while another one routes, rings do not make it ask for the place more than twice a second', async () => {
  await openSession(database.url);
  let asked = 0;
  const { router } = startRouter(prepared, {
    openSession: async () => {
      asked += 1;
      return null;
    },
  });
  for (let n = 0; n < 200; n++) {
    router.wake();
    await sleep(1);
  }
  expect(asked).toBeLessThan(20);
});

function startListening(router: { wake(): void }): void {
  const listener = createListener({
    connection: connectionConfig(database.url, 'listener'),
    channels: [wakeChannel],
    onNotification: () => router.wake(),
    onConnected: () => router.wake(),
    onDisconnected: () => {},
  });
  onTestFinished(() => listener.stop());
  void listener.start();
}

/** Whether some router holds the lock that tells writers to notify. */
async function isAsleep(): Promise<boolean> {
  const { rows } = await database.query<{ asleep: boolean }>(
    `select exists (select from pg_locks l join pg_database b on b.oid = l.database
     where b.datname = current_database() and l.locktype = 'advisory' and l.classid = 1885826914 and l.objid = 3
       and l.mode = 'ExclusiveLock') as asleep`,
  );
  return rows[0]?.asleep === true;
}
