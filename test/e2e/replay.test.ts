import { expect, test } from 'vitest';
import { runProgram, startProgram } from '../support/processes.ts';
import { apply, createShop, keyOf, receiver } from './shop.ts';
import { eventually, rulesFile, startSidecar } from './support.ts';

const rulesOf = (database: string, url: string) => `
version: 1
database: ${database}
sources: { orders: { table: public.orders } }
destinations: { hook: { webhook: { url: "${url}" } } }
observers:
  created:
    source: orders
    actions: [{ webhook: hook }]
  tried: { source: orders, mode: shadow, actions: [{ webhook: hook }] }
`;

test('replay: counted, killed, interrupted, resumed; sent with the ids of the first time and marked', {
  timeout: 120_000,
}, async () => {
  const hooks = await receiver();
  const database = await createShop('replay');
  const rules = await rulesFile(rulesOf(database.url, hooks.url));
  const replay = (...args: string[]) => runProgram(['replay', '-c', rules, ...args]);
  await apply(rules);
  const first = await startSidecar(rules);
  await database.query('insert into orders select n from generate_series(1, 60) n');
  await eventually('sent for the first time', () => hooks.received.total === 60);
  await first.kill('SIGTERM');
  const ids = new Map(hooks.received.entries.map((hook) => [keyOf(hook), hook.headers['webhook-id']]));

  const counted = await replay('--since', '1h', '--observer', 'created', '--dry-run');
  expect(counted).toMatchObject({
    status: 0,
    stdout: '60 events, 60 deliveries would be queued:\n        60  created\n',
  });
  expect((await replay('--list')).stdout).toBe('No replays.\n');

  // Nobody is asked when nobody is there; nor does anybody deliver meanwhile.
  const killed = startProgram(['replay', '-c', rules, '--since', '1h', '--rate', '10/s']);
  const queued = async () => (await database.query('select from observers.deliveries')).rows.length;
  await eventually('some are queued', async () => (await queued()) > 2);
  await killed.kill('SIGKILL');
  const interrupted = startProgram(['replay', '-c', rules, '--resume', '1']);
  const before = await queued();
  await eventually('more are queued', async () => (await queued()) > before);
  const { status, stderr } = await interrupted.kill('SIGINT');
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: expect.stringContaining('Interrupted: `pg-observers replay --resume 1` goes on where it stopped.'),
  });
  const shown = () => runProgram(['status', '-c', rules]);
  expect((await shown()).stdout).toMatch(/\nNOT FINISHED .*\nreplay 1 .* replay --resume 1\n/);
  const second = await startSidecar(rules);
  const rest = JSON.parse((await replay('--resume', '1', '--rate', '1000/s', '--json')).stdout);
  expect(rest).toMatchObject({ replay: '1', state: 'finished', dry_run: false });
  await eventually('sent again', () => hooks.received.total >= 120);
  await eventually('settled', async () => {
    return (await queued()) === 0;
  });
  await second.kill('SIGTERM');

  expect((await shown()).stdout).not.toContain('NOT FINISHED');
  const again = hooks.received.entries.slice(60);
  expect(again.map(keyOf).toSorted()).toEqual([...ids.keys()].toSorted());
  for (const hook of again) {
    expect(hook.headers['webhook-id']).toBe(ids.get(keyOf(hook)));
    expect(hook.headers['webhook-replay']).toBe('true');
  }
  const explained = await runProgram(['explain', '1', '-c', rules, '--observer', 'created']);
  expect(explained.stdout).toMatch(/attempt 1 .* delivered 204 .*replay 1/);
  expect(JSON.parse((await replay('--list', '--json')).stdout)).toMatchObject([
    { id: '1', events: '60', deliveries: '60', observers: ['created'] },
  ]);

  expect(await replay('--since', '1h', '--observer', 'tried')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('in shadow mode'),
  });
  expect(await replay('--since', '1h', '--where', 'new.total >')).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/^--where, at character \d+: /),
  });
  expect(await replay('--observer', 'created')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('Give either --since or --resume'),
  });
});
