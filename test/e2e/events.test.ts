import { expect, test } from 'vitest';
import { runProgram, startProgram } from '../support/processes.ts';
import { apply, createShop } from './shop.ts';
import { rulesFile } from './support.ts';

const rulesOf = (database: string) => `
version: 1
database: ${database}
sources:
  orders: { table: public.orders }
  signups: { topic: user.signup }
observers: { all: { source: orders, actions: [{ webhook: "http://127.0.0.1:9/" }] } }
`;

async function shop(label: string) {
  const database = await createShop(label);
  const rules = await rulesFile(rulesOf(database.url));
  await apply(rules);
  const events = (...args: string[]) => runProgram(['events', ...args, '-c', rules]);
  return { database, rules, events };
}

test('events list and show: newest first, filters, pages, digits', { timeout: 120_000 }, async () => {
  const { database, events } = await shop('events_list');
  await database.query("insert into orders select n, 'note ' || n from generate_series(1, 450) n");
  await database.query("update orders set note = 'new' where id = 7");
  await database.query(`select observers.emit('user.signup', '{"n": 12345678901234567890.10}', 'k', 'acme')`);

  const newest = await events('list', '--limit', '2');
  expect(newest).toMatchObject({ status: 0, stderr: '' });
  expect(newest.stdout.split('\n').slice(0, 3)).toEqual([
    expect.stringMatching(/^ID +CAPTURED \(UTC\) +EVENT +KEY +DATA$/),
    expect.stringMatching(/^452 .* signups\.emit +k +\[acme\] \{"n": 12345678901234567890\.10\}$/),
    expect.stringMatching(/^451 .* orders\.update +7 +\{"id": 7, "note": "new"\}$/),
  ]);
  expect(newest.stdout).toContain('perhaps more: --before 451');

  // More than a page of the reader's.
  const all = JSON.parse((await events('list', '--limit', '1000', '--json')).stdout);
  expect(all.map(({ id }: { id: string }) => Number(id))).toEqual(Array.from({ length: 452 }, (_, i) => 452 - i));

  const shown = await events('show', '452');
  expect(shown.stdout).toMatch(/^event +[0-9a-f-]{36}\nnumber +452\nwhat +signups\.emit\n/);
  expect(shown.stdout).toContain('{"n": 12345678901234567890.10}');
  expect(shown.stdout).toContain('not yet');
  const json = await events('show', all[0].uid, '--json');
  expect(json.stdout).toContain('"payload": {"n": 12345678901234567890.10}');
  expect(JSON.parse(json.stdout)).toMatchObject({ source: 'signups', id: '452' });

  const found = await events('search', '"note 450"', 'or', 'acme');
  expect(found.stdout.split('\n').slice(1, 3)).toEqual([
    expect.stringMatching(/^450 .*orders\.insert/),
    expect.stringMatching(/^1 found\. Looked through events and attempts since 20.*Z: --since looks further back\.$/),
  ]);
  expect(await events('search', '&|')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('There is no word in "&|".'),
  });

  expect(await events('show', '999')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('past retention.  [PGO-EVENT]'),
  });
});

test('events tail misses no event that commits late, and ends on Ctrl-C', { timeout: 120_000 }, async () => {
  const { database, rules } = await shop('events_tail');
  await database.query("insert into orders values (1, 'before'), (2, 'before')");
  const tail = startProgram(['events', 'tail', '-n', '1', '--json', '-c', rules]);
  await tail.waitForLine(/"key":"2"/);
  const late = await database.pool().connect();
  await late.query("begin; insert into orders values (3, 'late')");
  await database.query("insert into orders select n, 'burst' from generate_series(4, 500) n");
  await tail.waitForLine(/"key":"500"/);
  await late.query('commit');
  await tail.waitForLine(/"key":"3"/);
  late.release();
  const { status, stdout } = await tail.kill('SIGINT');
  expect(status).toBe(0);
  const keys = stdout
    .trim()
    .split('\n')
    .map((line) => Number(JSON.parse(line).key));
  expect(keys).toEqual([2, ...Array.from({ length: 497 }, (_, i) => i + 4), 3]);
});
