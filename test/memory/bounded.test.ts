import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { count, drained, eventually, migrated, receiver } from '../deliver/fixture.ts';
import { rulesFile, startSidecar } from '../e2e/support.ts';

/**
 * Memory without a stopwatch: the process gets so little that it dies when anything grows with the queue. What an
 * unbounded program would hold here is several times as much.
 */
const small = { env: { NODE_OPTIONS: '--max-old-space-size=112' } };

const rules = (database: string, url: string) => `
version: 1
database: ${database}
sources: { orders: { topic: orders } }
destinations: { hook: { webhook: { url: "${url}" }, concurrency: 50, retry: { attempts: 100, initial: 100ms, max: 500ms } } }
observers: { all: { source: orders, actions: [{ webhook: hook }] } }
`;

test('a backlog of 8,000 events of 32 KB, in one transaction, in 112 MB of heap: away, then back', async () => {
  const database = await migrated('memory_backlog');
  let away = true;
  const hooks = await receiver({ capacity: 10, respond: () => ({ status: away ? 503 : 204 }) });
  const sidecar = await startSidecar(await rulesFile(rules(database.url, hooks.url)), small);
  await database.query(
    "select observers.emit('orders', jsonb_build_object('n', n, 'note', repeat(md5(n::text), 1024))) from generate_series(1, 8000) n",
  );
  await eventually(
    'everything is routed, and tried',
    async () => {
      return hooks.received.total > 500 && (await count(database, 'deliveries')) === 8_000;
    },
    60_000,
  );
  away = false;
  await drained(database, 8_000, 60_000);
  expect((await sidecar.kill('SIGTERM')).status).toBe(0);
}, 90_000);

test('events of 10 MB go one by one to a receiver with 50 places, in 128 MB of heap', async () => {
  const database = await migrated('memory_large');
  let open = 0;
  let most = 0;
  const hooks = await receiver({
    capacity: 1,
    respond: async () => {
      most = Math.max(most, ++open);
      // As a receiver that takes a moment; one that is at once done would hardly have two.
      await sleep(500);
      open -= 1;
      return { status: 204 };
    },
  });
  const sidecar = await startSidecar(await rulesFile(rules(database.url, hooks.url)), {
    env: { NODE_OPTIONS: '--max-old-space-size=128' },
  });
  // Compressed in the table, so that the test is quick; in memory they are as large as any.
  await database.query(
    "select observers.emit('orders', jsonb_build_object('n', n, 'text', repeat('x', 10 * 1024 * 1024))) from generate_series(1, 8) n",
  );
  await drained(database, 8, 60_000);
  expect(hooks.received.total).toBe(8);
  expect(most).toBe(1);
  expect((await sidecar.kill('SIGTERM')).status).toBe(0);
}, 90_000);
