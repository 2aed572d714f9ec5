import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runProgram } from '../support/processes.ts';
import { apply, createShop, shopRules } from './shop.ts';
import { rulesFile, scratchFolder } from './support.ts';

const root = new URL('../../', import.meta.url).pathname;

test('test: the example passes without any variable set; what fails is shown, with status 1, and as JUnit XML', {
  timeout: 120_000,
}, async () => {
  const passed = await runProgram(['test', 'observers.example.test.yaml'], { cwd: root, env: { DATABASE_URL: '' } });
  expect(passed).toMatchObject({ status: 0, stderr: '' });
  expect(passed.stdout).toMatch(/\n7 tests passed\n$/);

  const folder = await scratchFolder();
  const example = await readFile(join(root, 'observers.example.test.yaml'), 'utf8');
  const file = join(folder, 'observers.test.yaml');
  await writeFile(
    file,
    example
      .replace('Order 7 is paid', 'Order 8 is paid')
      .replace('config: observers.example.yaml', `config: ${root}observers.example.yaml`),
  );
  const junit = join(folder, 'results.xml');
  const failed = await runProgram(['test', '--filter', 'BIG', '--junit', junit], { cwd: folder });
  expect(failed).toMatchObject({ status: 1, stderr: '' });
  expect(failed.stdout).toBe(`✗ a big order that turns paid is told to everybody  observers.test.yaml:9:5
    the request of big-order-paid/email-2 is otherwise
      subject
        expected  "Order 8 is paid"
        is        "Order 7 is paid"

1 test: 0 passed, 1 failed
`);
  expect(await readFile(junit, 'utf8')).toContain('<testsuites tests="1" failures="1">');
  const told = JSON.parse((await runProgram(['test', '--json'], { cwd: folder })).stdout);
  expect(told).toMatchObject({
    passed: 6,
    failed: 1,
    tests: [{ passed: false, line: 9 }, { passed: true }, {}, {}, {}, {}, {}],
  });

  const missing = await runProgram(['test', 'nothing.yaml'], { cwd: folder });
  expect(missing).toMatchObject({
    status: 2,
    stdout: '',
    stderr: expect.stringContaining("can't read nothing.yaml: no such file"),
  });
  const none = await runProgram(['test', '--filter', 'zebra'], { cwd: folder });
  expect(none).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('No test of observers.test.yaml has "zebra" in its name.'),
  });
  await writeFile(file, 'version: 1\ntests: [{ name: a, given: { insert: orders }, expect: [b] }]\n');
  const bad = await runProgram(['test', '-c', join(root, 'observers.example.yaml')], { cwd: folder });
  expect(bad).toMatchObject({ status: 2, stdout: '' });
  expect(bad.stderr).toContain(
    'observers.test.yaml:2:20  `insert` needs the row `new`\nobservers.test.yaml:2:56  there is no observer `b`',
  );
});

test('test --from-event prints a test that passes, digit for digit', { timeout: 120_000 }, async () => {
  const database = await createShop('from_event');
  const rules = await rulesFile(shopRules({ database: database.url, url: 'http://127.0.0.1:9/' }));
  await database.query('alter table public.orders add total numeric');
  await apply(rules);
  await database.query(`insert into public.orders values (7, E'it''s: "x"\\n# y', 12345678901234567890.10)`);
  await database.query('delete from public.orders');
  const file = join(await scratchFolder(), 'observers.test.yaml');
  const print = (event = '1') => runProgram(['test', file, '--from-event', event, '-c', rules]);
  const printed = await print();
  expect(printed).toMatchObject({ status: 0, stderr: '' });
  expect(printed.stdout).toMatch(/^version: 1\ntests:\n# From a real event: take out what is personal/);
  expect(printed.stdout).toContain('"total": 12345678901234567890.10');
  // The shell makes it before we look.
  await writeFile(file, '');
  expect((await print()).stdout).toBe(printed.stdout);
  await writeFile(file, printed.stdout);
  await appendFile(file, (await print('2')).stdout);
  const end = await runProgram(['test', file, '-c', rules]);
  expect(end).toMatchObject({ status: 0, stdout: '✓ orders.insert 7\n✓ orders.delete 7\n\n2 tests passed\n' });
  expect(await runProgram(['test', '--from-event', '99', '-c', rules])).toMatchObject({ status: 1 });
});
