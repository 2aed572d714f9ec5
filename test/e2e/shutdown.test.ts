import { expect, onTestFinished, test } from 'vitest';
import type { HttpReply } from '../../src/receivers/http-listener.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { apply, createShop, keyOf, receiver, shopRules } from './shop.ts';
import { rulesFile, startSidecar } from './support.ts';
import { drained } from './world.ts';

/** A receiver whose answers are held back until `release`. */
async function holdingReceiver() {
  let release = () => {};
  const released = new Promise<HttpReply>((resolve) => {
    release = () => resolve({ status: 204 });
  });
  return { hooks: await receiver({ respond: () => released }), release };
}

test('SIGTERM lets an attempt in flight finish, starts no other, and the next run repeats nothing', async () => {
  const database = await createShop('stop_drain');
  const { hooks, release } = await holdingReceiver();
  const rules = await rulesFile(shopRules({ database: database.url, url: hooks.url, policy: 'concurrency: 2' }));
  const first = await startSidecar(rules);
  await database.query('insert into public.orders select n from generate_series(1, 10) n');
  await hooks.received.waitFor(2);
  first.signal('SIGTERM');
  await first.record('stopping', ({ event, msg }) => event === 'engine.stopping' && msg === 'stopping: SIGTERM');
  // What is inserted now belongs to the next run.
  await database.query('insert into public.orders values (11)');
  release();
  expect(await first.exited).toMatchObject({ status: 0, stderr: '' });
  expect(hooks.received.total).toBe(2);
  const { rows } = await database.query('select state, count(*)::int from observers.deliveries group by 1');
  expect(rows).toEqual([{ state: 'ready', count: 8 }]);

  const second = await startSidecar(rules);
  await hooks.received.waitFor(11);
  await drained(database);
  expect(hooks.received.entries.map(keyOf).sort((a, b) => Number(a) - Number(b))).toEqual(
    Array.from({ length: 11 }, (_, n) => String(n + 1)),
  );
  expect(await second.kill()).toMatchObject({ status: 0, stderr: '' });
});

test('--shutdown-timeout cuts a hanging attempt, which is not counted, and the next run makes it again', async () => {
  const database = await createShop('stop_cut');
  const hooks = await receiver({
    respond: ({ number }) => (number === 1 ? { misbehave: 'hang-before-headers' } : { status: 204 }),
  });
  const rules = await rulesFile(
    shopRules({ database: database.url, url: hooks.url, policy: 'timeout: 5m, retry: { attempts: 1 }' }),
  );
  const first = await startSidecar(rules, { args: ['--shutdown-timeout', '200ms'] });
  await database.query('insert into public.orders values (1)');
  await hooks.received.waitFor(1);
  expect(await first.kill()).toMatchObject({ status: 0, stderr: '' });
  const { rows } = await database.query('select state, attempts from observers.deliveries');
  expect(rows).toEqual([{ state: 'ready', attempts: 0 }]);

  // Had it been counted, it would be a dead letter: one attempt is all it has.
  const second = await startSidecar(rules);
  await hooks.received.waitFor(2);
  await drained(database);
  const [one, two] = hooks.received.entries;
  expect(two?.messageId).toBe(one?.messageId);
  expect((await database.query('select from observers.dead_letters')).rowCount).toBe(0);
  expect(await second.kill()).toMatchObject({ status: 0 });
});

test('a second SIGTERM ends it at once', async () => {
  const database = await createShop('stop_twice');
  const { hooks } = await holdingReceiver();
  const rules = await rulesFile(shopRules({ database: database.url, url: hooks.url, policy: 'timeout: 5m' }));
  const sidecar = await startSidecar(rules, { args: ['--shutdown-timeout', '5m'] });
  await database.query('insert into public.orders values (1)');
  await hooks.received.waitFor(1);
  sidecar.signal('SIGTERM');
  await sidecar.record('stopping', ({ event }) => event === 'engine.stopping');
  expect(await sidecar.kill('SIGTERM')).toMatchObject({ status: 1, stderr: '' });
});

test.each(['refused', 'half-open'])('it stops with status 0 while the database is away: %s', async (how) => {
  const database = await createShop('stop_away');
  const { hooks, release } = await holdingReceiver();
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  const rules = await rulesFile(shopRules({ database: proxy.through(database.url), url: hooks.url }));
  const sidecar = await startSidecar(rules);
  await database.query('insert into public.orders values (1)');
  await hooks.received.waitFor(1);
  if (how === 'refused') {
    await proxy.refuse();
    proxy.cut();
  } else {
    proxy.pause();
  }
  // An outcome that can't be written any more, too.
  release();
  await sidecar.record('the attempt', ({ event }) => event === 'attempt.finished');
  const began = performance.now();
  expect(await sidecar.kill()).toMatchObject({ status: 0, stderr: '' });
  console.log(`stopped in ${Math.round(performance.now() - began)} ms with the database ${how}`);
  expect(performance.now() - began).toBeLessThan(25_000);
});

test('it stops with status 0 while it still waits for the database, and says nothing of observing', async () => {
  const { hooks } = await holdingReceiver();
  const rules = await rulesFile(shopRules({ database: 'postgres://postgres@127.0.0.1:9/nowhere', url: hooks.url }));
  const sidecar = await startSidecar(rules, { until: 'spawned' });
  await sidecar.record('waiting', ({ event }) => event === 'database.unreachable');
  const end = await sidecar.kill();
  expect(end).toMatchObject({ status: 0, stderr: '' });
  expect(end.stdout).not.toContain('observing');
});

test('it stops with status 0 in the middle of starting', async () => {
  const database = await createShop('stop_starting');
  const { hooks } = await holdingReceiver();
  const rules = await rulesFile(shopRules({ database: database.url, url: hooks.url }));
  await apply(rules);
  // apply waits for the table lock of a writer.
  await database.query('drop trigger zz_pg_observers_orders_insert on public.orders');
  const writer = await database.pool().connect();
  onTestFinished(() => writer.release());
  await writer.query('begin; insert into public.orders values (1)');
  const sidecar = await startSidecar(rules, { until: 'spawned' });
  await sidecar.record('starting', ({ msg }) => msg === 'starting');
  const end = await sidecar.kill();
  await writer.query('rollback');
  expect(end).toMatchObject({ status: 0, stderr: '' });
  expect(end.stdout).not.toContain('observing');
});
