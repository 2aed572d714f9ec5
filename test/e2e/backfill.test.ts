import { expect, test } from 'vitest';
import { runProgram, startProgram } from '../support/processes.ts';
import { apply, createShop, keyOf, receiver } from './shop.ts';
import { eventually, rulesFile, startSidecar } from './support.ts';

const rulesOf = (database: string, url: string) => `
version: 1
database: ${database}
sources: { orders: { table: public.orders }, signups: { topic: signups }, others: { table: public.others } }
destinations: { hook: { webhook: { url: "${url}" } } }
observers:
  copies: { source: orders, on: [read], actions: [{ webhook: hook }] }
  changes: { source: orders, actions: [{ webhook: hook }] }
`;

test('backfill: killed and resumed, only for those that read', { timeout: 120_000 }, async () => {
  const hooks = await receiver();
  const database = await createShop('backfill');
  await database.query(
    "create table public.others (id integer); insert into orders select n, 'x' from generate_series(1, 40) n",
  );
  const rules = await rulesFile(rulesOf(database.url, hooks.url));
  const backfill = (...args: string[]) => runProgram(['backfill', '-c', rules, ...args]);
  await apply(rules);
  const killed = startProgram(['backfill', 'orders', '-c', rules, '--rate', '10/s']);
  await eventually('the first chunk', async () => {
    const { rows } = await database.query('select from observers.events');
    return rows.length > 0;
  });
  await killed.kill('SIGKILL');
  expect(await backfill('orders')).toMatchObject({ status: 1, stderr: expect.stringContaining('--resume goes on') });
  const sidecar = await startSidecar(rules);
  const done = await backfill('orders', '--resume', '--rate', '1000/s');
  expect(done).toMatchObject({ status: 0, stdout: '40 rows of orders read, 40 events.\n' });
  await eventually('all are sent', () => hooks.received.total === 40);
  await sidecar.kill('SIGTERM');
  expect(hooks.received.entries.map((hook) => Number(keyOf(hook))).toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 40 }, (_, i) => i + 1),
  );
  expect(JSON.parse(hooks.received.entries[0]?.body ?? '')).toMatchObject({ type: 'orders.read', operation: 'read' });
  expect(JSON.parse((await backfill('--list', '--json')).stdout)).toMatchObject([{ source: 'orders', rows: '40' }]);

  const refusals: [string[], RegExp][] = [
    [['order'], /There is no source order .*did you mean orders/],
    [['signups'], /is a topic: only tables have rows/],
    [['others'], /No observer of others has `on: \[read\]`/],
    [[], /Name the source/],
  ];
  for (const [args, message] of refusals)
    expect(await backfill(...args)).toMatchObject({ status: 2, stderr: expect.stringMatching(message) });
});
