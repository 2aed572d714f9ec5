import { expect, test } from 'vitest';
import { runProgram } from '../support/processes.ts';
import { createShop, receiver, shopRules } from './shop.ts';
import { eventually, rulesFile, type Sidecar, startSidecar } from './support.ts';
import { drained, noSessions, unsettledMessageIds } from './world.ts';

const delivered = (sidecar: Sidecar) => sidecar.records().filter(({ event }) => event === 'attempt.finished').length;

test('two instances share the work; the router is killed and the other one routes; nothing is lost', async () => {
  const database = await createShop('two');
  const hooks = await receiver({ respond: () => ({ status: 204, delayMs: 5 }) });
  const more = 'settings: { instance_timeout: 2s }';
  const rules = await rulesFile(shopRules({ database: database.url, url: hooks.url, policy: 'concurrency: 5', more }));
  const first = await startSidecar(rules);
  const second = await startSidecar(rules, { until: 'observing' });
  const total = 4_000;
  await database.query('insert into public.orders select n from generate_series(1, $1::int) n', [total]);
  await hooks.received.waitFor(1_500, 30_000);
  expect(second.records().some(({ event }) => event === 'routing.acquired')).toBe(false);
  for (const sidecar of [first, second]) expect(delivered(sidecar)).toBeGreaterThan(100);

  await first.kill('SIGKILL');
  const began = performance.now();
  const claimed = await unsettledMessageIds(database, 'claimed');
  await database.query('insert into public.orders values ($1)', [total + 1]);
  await second.record('the other one routes', ({ event }) => event === 'routing.acquired');
  console.log(`the second instance routes ${Math.round(performance.now() - began)} ms after the first was killed`);
  await second.record('it takes over', ({ event }) => event === 'delivery.rescued');
  await eventually(
    'every order',
    () => new Set(hooks.received.entries.map(({ messageId }) => messageId)).size === total + 1,
    40_000,
  );
  await drained(database);
  const times = new Map<string, number>();
  for (const { messageId } of hooks.received.entries) times.set(messageId ?? '', (times.get(messageId ?? '') ?? 0) + 1);
  const repeated = [...times].filter(([, count]) => count > 1);
  console.log(`${repeated.length} repeats of ${total + 1}`);
  for (const [id, count] of repeated) {
    expect(count).toBe(2);
    expect(claimed.has(id), `${id} was in flight at the kill`).toBe(true);
  }
  // Places of the killed one, and what it had sent whose outcome was not written yet.
  expect(repeated.length).toBeLessThanOrEqual(5 + 100);
  expect(await second.kill()).toMatchObject({ status: 0, stderr: '' });
  await noSessions(database);
}, 60_000);

test('a clean stop hands the routing over at once, and nothing is repeated', async () => {
  const database = await createShop('two_clean');
  const hooks = await receiver({ respond: () => ({ status: 204, delayMs: 5 }) });
  const rules = await rulesFile(shopRules({ database: database.url, url: hooks.url, policy: 'concurrency: 5' }));
  const first = await startSidecar(rules);
  const second = await startSidecar(rules, { until: 'observing' });
  await database.query('insert into public.orders select n from generate_series(1, 1000) n');
  await hooks.received.waitFor(300);
  expect(await first.kill()).toMatchObject({ status: 0 });
  await second.record('the other one routes', ({ event }) => event === 'routing.acquired');
  await database.query('insert into public.orders values (1001)');
  await hooks.received.waitFor(1_001, 30_000);
  await drained(database);
  expect(new Set(hooks.received.entries.map(({ messageId }) => messageId)).size).toBe(1_001);
  expect(hooks.received.total).toBe(1_001);
  expect(second.records().some(({ event }) => event === 'delivery.rescued')).toBe(false);
  expect(await second.kill()).toMatchObject({ status: 0, stderr: '' });
});

test('a router that is frozen loses its session, another one routes, and nothing is repeated when it wakes up', async () => {
  const database = await createShop('two_frozen');
  const hooks = await receiver();
  const more = 'settings: { instance_timeout: 2s }';
  const rules = await rulesFile(shopRules({ database: database.url, url: hooks.url, more }));
  const first = await startSidecar(rules);
  const second = await startSidecar(rules, { until: 'observing' });
  await database.query('insert into public.orders select n from generate_series(1, 100) n');
  await hooks.received.waitFor(100);
  await drained(database);
  first.signal('SIGSTOP');
  await database.query('insert into public.orders select n from generate_series(101, 200) n');
  await second.record('the end of its session', ({ event }) => event === 'instance.evicted');
  await second.record('the other one routes', ({ event }) => event === 'routing.acquired');
  await hooks.received.waitFor(200);
  await drained(database);
  first.signal('SIGCONT');
  await first.record('its new life', ({ event }) => event === 'instance.suspended');
  await first.record('the end of its routing', ({ event }) => event === 'routing.lost');
  const roles = await runProgram(['status', '-c', rules, '--json']);
  const { instances } = JSON.parse(roles.stdout) as { instances: { pid: number; routing: boolean }[] };
  expect(instances.filter(({ routing }) => routing).map(({ pid }) => pid)).toEqual([second.pid]);
  await database.query('insert into public.orders select n from generate_series(201, 300) n');
  await hooks.received.waitFor(300);
  await drained(database);
  expect(hooks.received.total).toBe(300);
}, 60_000);
