import { expect, onTestFinished, test } from 'vitest';
import { metricDefinitions, prefix } from '../../src/telemetry/metrics/definitions.ts';
import { runProgram } from '../support/processes.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { promtool } from '../telemetry/promtool.ts';
import { createShop, receiver, shopRules } from './shop.ts';
import { eventually, freePort, rulesFile, startSidecar } from './support.ts';

async function startWithMetrics() {
  const database = await createShop('metrics');
  const hooks = await receiver();
  const { hostname, port: databasePort } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(databasePort) });
  onTestFinished(() => proxy.stop());
  const port = await freePort();
  const more = `settings: { listen: "127.0.0.1:${port}", instance_timeout: 2s }`;
  const rules = await rulesFile(shopRules({ database: proxy.through(database.url), url: hooks.url, more }));
  await startSidecar(rules, { env: { PG_OBSERVERS_LISTEN: undefined } });
  const scrape = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return { database, hooks, proxy, rules, scrape };
}

test('/metrics shows every metric, as Prometheus reads it; also while the database is away', async () => {
  const { database, hooks, proxy, rules, scrape } = await startWithMetrics();
  await database.query('insert into public.orders values (1)');
  await hooks.received.waitFor(1);

  const text = await eventually('the delivery to be counted', async () => {
    const page = await scrape();
    return /attempts_total\{.*outcome="delivered"\} 1/.test(page) ? page : null;
  });
  for (const name of Object.keys(metricDefinitions)) expect(text).toContain(`# TYPE ${prefix}${name} `);
  expect(text).toMatch(/pg_observers_events_captured_total 1\n/);
  expect(text).toMatch(/pg_observers_events_routed_total\{source="\w+",operation="insert"\} 1\n/);
  expect(text).toMatch(/pg_observers_database_up 1\n/);
  expect(text).toMatch(/pg_observers_instances\{state="alive"\} 1\n/);
  expect(text).toMatch(/pg_observers_dead_letters 0\n/);
  if (promtool !== null) expect(await promtool(['check', 'metrics'], text)).toBe('');

  const { status, stdout } = await runProgram(['metrics', '--config', rules, '--json', '--metric', 'events_routed']);
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject([{ name: 'pg_observers_events_routed_total', value: 1 }]);

  await proxy.stop();
  const away = await eventually('the database to be away', async () => {
    const page = await scrape();
    return /pg_observers_database_up 0\n/.test(page) ? page : null;
  });
  // What nobody knows is not shown as it was.
  expect(away).not.toMatch(/^pg_observers_(dead_letters|routing_lag_events|instances)\b/m);
});

test('`metrics` says when nothing answers, or something else does', async () => {
  const hooks = await receiver();
  const nobody = await runProgram(['metrics', '--url', `http://127.0.0.1:${await freePort()}`]);
  expect(nobody).toMatchObject({ status: 3, stderr: expect.stringContaining('Nothing answers at') });
  const somebody = await runProgram(['metrics', '--url', hooks.url]);
  expect(somebody).toMatchObject({ status: 3, stderr: expect.stringContaining('is not pg-observers') });
  const nowhere = await runProgram(['metrics', '--url', 'nowhere']);
  expect(nowhere).toMatchObject({ status: 2, stderr: expect.stringContaining('is not a URL') });
});
