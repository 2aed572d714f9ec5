import { expect, onTestFinished, test } from 'vitest';
import { runProgram } from '../support/processes.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { apply, createShop, receiver, shopRules } from './shop.ts';
import { eventually, freePort, rulesFile, startSidecar } from './support.ts';

async function get(
  port: number,
  path: string,
  method = 'GET',
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : JSON.parse(text) };
}

/** Polls /readyz until it is not ready, for this reason among others, or until it is ready. */
const readiness = (port: number, wanted: RegExp | 'ready') =>
  eventually(`/readyz to say ${wanted}`, async () => {
    const { status, body } = await get(port, '/readyz');
    if (wanted === 'ready') return status === 200 && body.ready === true;
    return status === 503 && body.ready === false && (body.reasons as string[]).some((reason) => wanted.test(reason));
  });

async function proxied(database: { url: string }) {
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  return proxy;
}

test('/healthz, /readyz and /api/v1/status answer, also while the database is away', async () => {
  const database = await createShop('health');
  const hooks = await receiver();
  const proxy = await proxied(database);
  const port = await freePort();
  const more = `settings: { listen: "127.0.0.1:${port}", instance_timeout: 2s }`;
  const rules = await rulesFile(shopRules({ database: proxy.through(database.url), url: hooks.url, more }));
  const sidecar = await startSidecar(rules, { env: { PG_OBSERVERS_LISTEN: undefined } });
  await readiness(port, 'ready');
  await database.query('insert into public.orders values (1)');
  await hooks.received.waitFor(1);

  expect(await get(port, '/healthz')).toEqual({ status: 200, body: { status: 'ok' } });
  expect(await get(port, '/readyz')).toEqual({ status: 200, body: { ready: true, reasons: [] } });
  expect((await get(port, '/healthz', 'HEAD')).status).toBe(200);
  expect((await get(port, '/healthz', 'POST')).status).toBe(405);
  expect(await get(port, '/health')).toMatchObject({
    status: 404,
    body: { endpoints: expect.arrayContaining(['/healthz']) },
  });
  // What an instance says of itself in the table is as old as its heartbeat.
  const status = await eventually('the heartbeat to tell of the routing', async () => {
    const answer = await get(port, '/api/v1/status');
    return (answer.body.instances as { routing: boolean }[])[0]?.routing ? answer : null;
  });
  expect(status).toMatchObject({
    status: 200,
    body: {
      instances: [{ pid: sidecar.pid }],
      instance: { routing: true },
      checkpoint: { lag_events: 0 },
      destinations: [{ name: 'hook', kind: 'webhook', in_flight: 0, waiting: 0, breaker: 'closed' }],
      dead_letters: 0,
    },
  });

  // A half-open network: connections stay, nothing is answered.
  proxy.pause();
  await readiness(port, /LISTEN connection is lost/);
  await readiness(port, /heartbeat does not reach the database/);
  await readiness(port, /^database: no answer within 2 s/);
  expect((await get(port, '/healthz')).status).toBe(200);
  expect(await get(port, '/api/v1/status')).toMatchObject({
    status: 503,
    body: { error: expect.stringMatching(/^database: /) },
  });
  await proxy.resume();
  await readiness(port, 'ready');

  await proxy.refuse();
  proxy.cut();
  await readiness(port, /^database: .*ECONNREFUSED/);
  await proxy.resume();
  await readiness(port, 'ready');
  await database.query('insert into public.orders values (2)');
  await hooks.received.waitFor(2);
  expect(await sidecar.kill()).toMatchObject({ status: 0, stderr: '' });
}, 60_000);

test('/readyz and status name triggers that were dropped or disabled by hand; a reload restores them', async () => {
  const database = await createShop('health_drift');
  const port = await freePort();
  const more = `settings: { listen: "127.0.0.1:${port}" }`;
  const rules = await rulesFile(shopRules({ database: database.url, url: 'http://127.0.0.1:9/', more }));
  await apply(rules);
  await database.query('alter table public.orders disable trigger zz_pg_observers_orders_insert');
  await database.query('drop trigger zz_pg_observers_orders_update on public.orders');

  const env = { PG_OBSERVERS_LISTEN: undefined };
  const looking = await startSidecar(rules, { env, args: ['--no-apply'] });
  await readiness(port, /^capture: trigger zz_pg_observers_orders_insert on public\.orders: was disabled/);
  await readiness(port, /^capture: trigger zz_pg_observers_orders_update on public\.orders: missing/);
  const drift = await looking.record('drift', ({ event }) => event === 'capture.drift');
  expect(drift).toMatchObject({ level: 'warn', msg: expect.stringContaining('pg-observers apply') });
  const shown = await eventually('status to say so', async () => {
    const { stdout } = await runProgram(['status', '--config', rules]);
    return stdout.includes('Capture: ') && stdout;
  });
  expect(shown).toContain('Capture: trigger zz_pg_observers_orders_insert on public.orders: was disabled.');
  expect(shown).toContain('`pg-observers apply` mends it');
  await looking.kill();

  const running = await startSidecar(rules, { env });
  await readiness(port, 'ready');
  // While it runs: the check that follows a reload with nothing to apply finds it; and apply mends it.
  await database.query('drop trigger zz_pg_observers_orders_update on public.orders');
  running.signal('SIGHUP');
  await running.record('a reload', ({ event }) => event === 'rules.loaded');
  await readiness(port, 'ready');
  const { rows } = await database.query(`select from pg_trigger where tgname = 'zz_pg_observers_orders_update'`);
  expect(rows).toHaveLength(1);
  await running.kill();
});
