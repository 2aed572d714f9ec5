import { expect, onTestFinished, test } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { apply, createShop, keyOf, receiver, shopRules } from './shop.ts';
import { eventually, rulesFile, startSidecar } from './support.ts';
import { drained } from './world.ts';

async function proxied(database: TestDatabase): Promise<TcpProxy> {
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  return proxy;
}

const insert = (database: TestDatabase, id: number) => database.query('insert into public.orders values ($1)', [id]);
const distinct = (hooks: Awaited<ReturnType<typeof receiver>>) => new Set(hooks.received.entries.map(keyOf)).size;

test('a database that is away at start is waited for, with one message', async () => {
  const database = await createShop('away_start');
  const hooks = await receiver();
  const proxy = await proxied(database);
  await proxy.refuse();
  const rules = await rulesFile(shopRules({ database: proxy.through(database.url), url: hooks.url }));
  const sidecar = await startSidecar(rules, { until: 'spawned' });
  const message = await sidecar.record('a message', ({ event }) => event === 'database.unreachable');
  expect(message).toMatchObject({
    level: 'warn',
    msg: expect.stringMatching(/waiting for it: PostgreSQL at 127\.0\.0\.1:\d+.* is not reachable: .*ECONNREFUSED/),
  });
  await proxy.resume();
  // The next attempt comes through.
  await sidecar.record('it routes', ({ event }) => event === 'routing.acquired');
  expect(sidecar.records().filter(({ event }) => event === 'database.unreachable')).toHaveLength(1);
  expect(sidecar.records().filter(({ event }) => event === 'database.reached')).toHaveLength(1);
  await insert(database, 1);
  await hooks.received.waitFor(1);
  expect(await sidecar.kill()).toMatchObject({ status: 0, stderr: '' });
});

test.each(['reset', 'half-open'])(
  'a database that goes away later (%s) is waited for, and nothing is lost',
  async (how) => {
    const database = await createShop('away_later');
    const hooks = await receiver();
    const proxy = await proxied(database);
    // Longer than the dispatcher's pause between two looks: one that may be taken for dead asks for nothing more.
    const more = 'settings: { instance_timeout: 5s }';
    const rules = await rulesFile(shopRules({ database: proxy.through(database.url), url: hooks.url, more }));
    const sidecar = await startSidecar(rules);
    await insert(database, 1);
    await hooks.received.waitFor(1);
    if (how === 'reset') {
      await proxy.refuse();
      proxy.cut();
    } else {
      proxy.pause();
    }
    await insert(database, 2);
    for (const stage of ['decide', 'deliver', 'recover']) {
      await sidecar.record(
        `${stage} to notice`,
        (r) => r.event === 'database.unreachable' && r.stage === stage,
        25_000,
      );
    }
    await insert(database, 3);
    await proxy.resume();
    await hooks.received.waitFor((hook) => keyOf(hook) === '3', 25_000);
    await drained(database);
    expect(distinct(hooks)).toBe(3);
    await sidecar.record('it is back', ({ event }) => event === 'database.reached');
    // One message per stage and outage, not one per attempt.
    expect(sidecar.records().filter((r) => r.event === 'database.unreachable' && r.stage === 'decide')).toHaveLength(1);
    expect(sidecar.records().filter(({ level }) => level === 'error')).toEqual([]);
    expect(await sidecar.kill()).toMatchObject({ status: 0, stderr: '' });
  },
  60_000,
);

test('sessions that are terminated again and again under load cost neither events nor the process', async () => {
  const database = await createShop('away_terminated');
  const hooks = await receiver();
  // Settling in lanes holds a connection for several statements: between two of them is the moment that hurts.
  const yaml = shopRules({ database: database.url, url: hooks.url, more: 'settings: { instance_timeout: 2s }' });
  const rules = await rulesFile(yaml.replace('on: [insert],', 'on: [insert], order_by: "new.id % 7",'));
  await apply(rules);
  const sidecar = await startSidecar(rules, { args: ['--log-level', 'warn'], until: 'spawned' });
  const total = 1_500;
  for (let id = 1; id <= total; id += 50) {
    await database.query('insert into public.orders select n from generate_series($1::int, $1::int + 49) n', [id]);
    await database.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name like 'pg-observers%'`,
    );
    await eventually('an arrival in between', () => distinct(hooks) >= Math.min(id / 3, total));
  }
  await eventually('every order', () => distinct(hooks) === total, 40_000);
  await drained(database);
  const end = await sidecar.kill();
  expect(end).toMatchObject({ status: 0, stderr: '' });
  console.log(`30 times all sessions terminated: ${hooks.received.total - total} repeats of ${total}`);
}, 60_000);
