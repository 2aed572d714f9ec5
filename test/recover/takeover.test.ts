import { randomUUID } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import { createInstanceRegistry } from '../../src/transport/postgres/instance-registry.ts';
import { count, drained, emit, emitMany, eventually, migrated, receiver, rules, run } from '../deliver/fixture.ts';
import type { TestDatabase } from '../support/database.ts';
import { startScript } from '../support/processes.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

const config = (url: string, hook: string, more: object = {}) =>
  rules(url, {
    destinations: { hook: { webhook: { url: hook }, concurrency: 10, ...more } },
    observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    settings: { instance_timeout: '1s', poll_interval: '200ms' },
  });

/** An engine in a process of its own, routing. */
async function child(database: TestDatabase, hook: string) {
  const engine = startScript(`
    import { createEngine, defineConfig } from './src/index.ts';
    const config = defineConfig({
      version: 1, database: ${JSON.stringify(database.url)}, sources: { orders: { topic: 'orders' } },
      destinations: { hook: { webhook: { url: ${JSON.stringify(hook)} }, concurrency: 10 } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
      settings: { listen: 'off', instance_timeout: '1s', poll_interval: '200ms' },
    });
    const engine = createEngine(config, { telemetry: (e) => console.log(e.type) });
    await engine.start();
  `);
  await engine.waitForLine(/^routing\.acquired$/);
  return engine;
}

/** Hangs at first; answers everything once opened, except what came before. */
function door() {
  let open = false;
  return {
    open: () => {
      open = true;
    },
    respond: () => (open ? { status: 204 } : ({ misbehave: 'hang-before-headers' } as const)),
  };
}

test('what a killed process had claimed is taken over; nothing is lost, and repeats are only what was in flight', async () => {
  const database = await migrated('killed');
  const gate = door();
  const { url, received } = await receiver({ respond: gate.respond });
  const doomed = await child(database, url);
  await emitMany(database, 1, 30);
  await received.waitFor(10);
  gate.open();
  await doomed.kill('SIGKILL');
  expect(await count(database, 'deliveries', "state = 'claimed'")).toBeGreaterThanOrEqual(10);
  const { told } = await run(config(database.url, url));
  await drained(database, 30);
  expect(told.some(({ type }) => type === 'delivery.rescued')).toBe(true);
  expect(received.total).toBe(40);
  expect(new Set(received.entries.map(({ messageId }) => messageId)).size).toBe(30);
  expect(await count(database, 'attempts', 'attempt = 1')).toBe(30);
});

test('a process that was silent past its timeout begins a new life, and what it says of its old one is fenced off', async () => {
  const database = await migrated('silent');
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  const answers: (() => void)[] = [];
  const { url, received } = await receiver({
    respond: ({ number }) =>
      number > 3 ? { status: 204 } : new Promise((resolve) => answers.push(() => resolve({ status: 500 }))),
  });
  const silent = await run(config(proxy.through(database.url), url));
  const formerId = (await silent.engine.status()).instance.id;
  await emitMany(database, 1, 3);
  await received.waitFor(3);
  proxy.pause();
  const other = await run(config(database.url, url));
  // The other one rescues and delivers all three while the first still waits for its answers.
  await drained(database, 3);
  expect(received.total).toBe(6);
  for (const answer of answers) answer();
  await eventually('its outcomes', () => silent.attempts().length === 3);
  await proxy.resume();
  await silent.heard('instance.suspended');
  await eventually('three fenced outcomes', () => {
    const fenced = silent.told.flatMap((event) => (event.type === 'delivery.fenced' ? [event.count] : []));
    return fenced.reduce((sum, n) => sum + n, 0) === 3;
  });
  expect((await silent.engine.status()).instance.id).not.toBe(formerId);
  const { rows } = await database.query('select outcome, attempt from observers.attempts');
  expect(rows).toEqual(Array(3).fill({ outcome: 'delivered', attempt: 1 }));
  // Both live on, and one of them delivers.
  await other.engine.stop();
  await emit(database, { n: 4 });
  await drained(database, 4);
});

test('after an outage, what was claimed before it is not begun: a crash may have forgotten the claim', async () => {
  const database = await migrated('forgotten');
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  const places = 20;
  let answer = () => {};
  const opened = new Promise<void>((resolve) => (answer = resolve));
  const { url, received } = await receiver({
    respond: async ({ number }) => {
      if (number > places) await opened;
      return { status: 204 };
    },
  });
  const { engine } = await run(config(proxy.through(database.url), url, { concurrency: places }));
  await emitMany(database, 1, 100);
  await received.waitFor(2 * places);
  const claimed = "from observers.deliveries where state = 'claimed'";
  // With so many places some are claimed ahead on a slow machine, too.
  await eventually('outcomes of what was answered, and some that wait in memory', async () => {
    const { rows } = await database.query<{ n: number }>(`select count(*)::int as n ${claimed}`);
    return (await count(database, 'attempts')) === places && (rows[0]?.n ?? 0) > places;
  });
  await proxy.refuse();
  proxy.cut();
  await eventually('to count as silent', async () =>
    (await engine.readiness()).reasons.includes('the heartbeat does not reach the database'),
  );
  // Others have them, and made them.
  await database.query(`delete ${claimed} and id not in (select id ${claimed} order by id limit ${places})`);
  const { rows } = await database.query<{ left: number }>('select count(*)::int as left from observers.deliveries');
  answer();
  await proxy.resume();
  await eventually(
    'an empty queue',
    async () => (await database.query('select from observers.deliveries')).rowCount === 0,
  );
  expect(received.total).toBe(places + (rows[0]?.left ?? 0));
});

test('an instance learns from its heartbeat that it was taken for dead, however late it set out', async () => {
  const database = await migrated('late_beat');
  const pool = database.pool();
  const late = createInstanceRegistry(pool, randomUUID());
  expect(await late.heartbeat('v1', false, 10_000)).toMatchObject({ declaredDead: false });
  expect(await late.heartbeat('v1', false, 10_000)).toMatchObject({ declaredDead: false });
  const other = createInstanceRegistry(pool, randomUUID());
  const fallSilent = "update observers.instances set heartbeat_at = now() - interval '3 s'";
  await database.query(fallSilent);
  await other.rescue(4_000);
  expect(await late.heartbeat('v1', false, 10_000)).toMatchObject({ declaredDead: false });
  await database.query(fallSilent);
  await other.rescue(2_000);
  expect(await late.heartbeat('v1', false, 10_000)).toMatchObject({ declaredDead: true });
  // So long ago that its row was cleared away.
  await database.query('delete from observers.instances');
  expect(await late.heartbeat('v1', false, 10_000)).toMatchObject({ declaredDead: true });
});

test('a takeover waits for a heartbeat that is being written, and then leaves its claims alone', async () => {
  const database = await migrated('beat_and_rescue');
  const pool = database.pool();
  const id = randomUUID();
  const beating = createInstanceRegistry(pool, id);
  await beating.heartbeat('v1', false, 10_000);
  await database.query("update observers.instances set heartbeat_at = now() - interval '3 s'");
  const client = await pool.connect();
  await client.query('begin');
  await client.query('update observers.instances set heartbeat_at = now() where id = $1', [id]);
  const rescue = createInstanceRegistry(pool, randomUUID()).rescue(2_000);
  await eventually('the takeover to wait', async () => {
    const { rows } = await database.query(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    return rows.length === 1;
  });
  await client.query('commit');
  client.release();
  await rescue;
  expect(await beating.heartbeat('v1', false, 10_000)).toMatchObject({ declaredDead: false });
});

test('a graceful stop hands waiting claims back at once, and lets what is in flight end', async () => {
  const database = await migrated('graceful');
  const answers: (() => void)[] = [];
  const hanging = await receiver({
    respond: () => new Promise((resolve) => answers.push(() => resolve({ status: 204 }))),
  });
  const leaving = await run(config(database.url, hanging.url, { concurrency: 2 }));
  await emitMany(database, 1, 2);
  await hanging.received.waitFor(2);
  let stopped = false;
  const stopping = leaving.engine.stop({ timeoutMs: 20_000 }).then(() => {
    stopped = true;
  });
  await emitMany(database, 3, 6);
  const staying = await run(config(database.url, hanging.url, { concurrency: 4 }));
  await hanging.received.waitFor(6);
  expect([stopped, answers.length]).toEqual([false, 6]);
  for (const answer of answers) answer();
  await stopping;
  await drained(database, 6);
  expect(hanging.received.total).toBe(6);
  expect([leaving.attempts().length, staying.attempts().length]).toEqual([2, 4]);
  expect(await count(database, 'instances')).toBe(1);
});

test('what a shutdown cuts off costs no attempt', async () => {
  const database = await migrated('cutoff');
  const gate = door();
  const { url, received } = await receiver({ respond: gate.respond });
  const { engine } = await run(config(database.url, url, { retry: { attempts: 1 } }));
  await emitMany(database, 1, 5);
  await received.waitFor(5);
  await engine.stop({ timeoutMs: 50 });
  const { rows } = await database.query('select distinct state, attempts, claimed_by from observers.deliveries');
  expect(rows).toEqual([{ state: 'ready', attempts: 0, claimed_by: null }]);
  expect(await count(database, 'attempts')).toBe(0);
  gate.open();
  await run(config(database.url, url, { retry: { attempts: 1 } }));
  await drained(database, 5);
  expect(await count(database, 'dead_letters')).toBe(0);
});

test('stop ends, also when the database does not answer any more', async () => {
  const database = await migrated('stop_away');
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  const { url, received } = await receiver();
  const { engine } = await run(config(proxy.through(database.url), url));
  proxy.pause();
  await emitMany(database, 1, 5);
  await engine.stop({ timeoutMs: 100 });
  expect(received.total).toBe(0);
  await run(config(database.url, url));
  await drained(database, 5);
});
