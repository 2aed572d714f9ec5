import { spawn } from 'node:child_process';
import { dirname } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import { type ProcessEnd, program, runProgram, startProgram } from '../support/processes.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { apply, createShop, keyOf, receiver, shopRules } from './shop.ts';
import { eventually, rulesFile, startSidecar } from './support.ts';

const nowhere = 'http://127.0.0.1:9/';
const json = ({ stdout }: ProcessEnd) => JSON.parse(stdout);

test('validate: in words, as JSON, against a database, by file, --config and environment', async () => {
  const database = await createShop('cmd_validate');
  const good = await rulesFile(shopRules({ database: database.url, url: nowhere }));
  const valid = `${good} is valid: 1 source, 1 observer, 1 destination.\n`;
  expect(await runProgram(['validate', good])).toMatchObject({ status: 0, stdout: valid, stderr: '' });
  expect(await runProgram(['validate-config', '-c', good, '--database'])).toMatchObject({ status: 0, stdout: valid });
  expect(await runProgram(['validate'], { env: { PG_OBSERVERS_CONFIG: good } })).toMatchObject({
    status: 0,
    stdout: valid,
  });
  const cwd = dirname(good);
  expect(await runProgram(['validate'], { cwd })).toMatchObject({ status: 0, stdout: valid.replace(`${cwd}/`, '') });
  expect(json(await runProgram(['validate', good, '--json']))).toMatchObject({ valid: true, sources: 1, observers: 1 });

  const bad = await rulesFile(
    shopRules({ database: database.url, url: nowhere }).replace('public.orders', 'public.oders'),
  );
  expect(await runProgram(['validate', bad])).toMatchObject({ status: 0 });
  const refused = await runProgram(['validate', bad, '--database', '--json']);
  expect(refused.status).toBe(2);
  expect(json(refused)).toMatchObject({
    valid: false,
    code: 'PGO-SOURCE',
    problems: [
      { file: bad, line: 4, hint: 'did you mean public.orders?', message: expect.stringContaining('public.oders') },
    ],
  });
});

test('plan shows SQL that psql could run; apply takes it; the second time there is nothing to do; drift is found', async () => {
  const database = await createShop('cmd_plan');
  const rules = await rulesFile(shopRules({ database: database.url, url: nowhere }));
  const plan = await runProgram(['plan', '-c', rules]);
  expect(plan).toMatchObject({ status: 0, stderr: '' });
  expect(plan.stdout).toMatch(/^-- apply migration 0001_observers: not applied yet$/m);
  expect(plan.stdout).toMatch(/^-- create trigger zz_pg_observers_orders_insert on public\.orders: missing \(writers/m);
  expect(plan.stdout).toMatch(/^-- \d+ steps; run `pg-observers apply` to take them\.$/m);
  expect(
    (await database.query(`select from pg_namespace where nspname = 'observers'`)).rowCount,
    'plan changes nothing',
  ).toBe(0);
  const planned = json(await runProgram(['plan', '-c', rules, '--json'])).steps;
  // What plan prints is what apply does: run by hand, it leaves nothing to do but to note the migration.
  const applied = await apply(rules);
  expect(applied.stdout.trim().split('\n')).toHaveLength(planned.length + 1);
  expect(applied.stdout).toContain(`Done: ${planned.length} steps.`);
  for (const command of ['plan', 'apply']) {
    const nothing = await runProgram([command, '-c', rules]);
    expect(nothing).toMatchObject({ status: 0, stdout: 'Nothing to do: the database is as the rules say.\n' });
    expect(json(await runProgram([command, '-c', rules, '--json']))).toEqual({ steps: [] });
  }
  await database.query('alter table public.orders disable trigger zz_pg_observers_orders_insert');
  const drift = json(await runProgram(['plan', '-c', rules, '--json']));
  expect(drift.steps).toMatchObject([{ kind: 'enable', reason: 'was disabled', locks: 'public.orders' }]);
  expect((await apply(rules)).stdout).toContain('Done: 1 step.');
});

test('status and dlq on a database without our tables say what to do', async () => {
  const database = await createShop('cmd_bare');
  const rules = await rulesFile(shopRules({ database: database.url, url: nowhere }));
  for (const command of [['status'], ['dlq', 'list'], ['dlq', 'show', '1'], ['dlq', 'retry', '1'], ['dlq', 'stats']]) {
    const end = await runProgram([...command, '-c', rules]);
    expect(end, command.join(' ')).toMatchObject({ status: 1, stdout: '' });
    expect(end.stderr).toMatch(
      /^PostgreSQL at .* has no pg-observers tables: run `pg-observers apply` first\. {2}\[PGO-NOT-APPLIED\]\n$/,
    );
  }
  // Without a rules file, DATABASE_URL is enough.
  await apply(rules);
  const bare = await runProgram(['status'], { cwd: '/', env: { DATABASE_URL: database.url } });
  expect(bare).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^No instance is running: start one with `pg-observers run`\./),
  });
  expect(bare.stdout).toContain('No dead letters.');
  // And so is --database, beside a file that somebody broke.
  const broken = await rulesFile(`version: 1\ndatabase: ${database.url}\nobservrs: {}\n`);
  const refused = await runProgram(['status', '-c', broken]);
  expect(refused).toMatchObject({ status: 2, stdout: '' });
  expect(refused.stderr).toMatch(/^Only the database is wanted of .*: --database URL does without it\.\n.*:3:1 /);
  expect(await runProgram(['status', '-c', broken, '--database', database.url])).toMatchObject({ status: 0 });
  const listed = await runProgram(['events', 'list', '-c', broken, '--database', database.url]);
  expect(listed).toMatchObject({ status: 0, stdout: 'No events.\n', stderr: '' });
});

/** A database with `count` dead letters: odd keys answered 400, even ones 503, both of tenant acme or globex. */
async function withDeadLetters(label: string, count: number) {
  const database = await createShop(label);
  let healthy = false;
  const hooks = await receiver({
    respond: (hook) => ({ status: healthy ? 204 : Number(keyOf(hook)) % 2 === 1 ? 400 : 503, body: 'no, thanks' }),
  });
  const yaml = shopRules({ database: database.url, url: hooks.url, policy: 'retry: { attempts: 1 }' });
  const rules = await rulesFile(yaml.replace('{ table: public.orders }', '{ table: public.orders, tenant: note }'));
  const sidecar = await startSidecar(rules, { args: ['--log-level', 'silent'], until: 'spawned' });
  await eventually('the triggers', async () => {
    const { rowCount } = await database.query(`select from pg_trigger where tgname = 'zz_pg_observers_orders_insert'`);
    return rowCount === 1;
  });
  await database.query(
    `insert into public.orders select n, case when n % 3 = 0 then 'globex' else 'acme' end from generate_series(1, $1::int) n`,
    [count],
  );
  await eventually('the dead letters', async () => (await deadLetters(database)) === count);
  const dlq = (...args: string[]) => runProgram(['dlq', ...args, '-c', rules]);
  return {
    database,
    hooks,
    rules,
    sidecar,
    dlq,
    heal: () => {
      healthy = true;
    },
  };
}

async function deadLetters(database: TestDatabase): Promise<number> {
  const { rows } = await database.query<{ n: number }>('select count(*)::int as n from observers.dead_letters');
  return rows[0]?.n ?? 0;
}

test('dlq list, show and stats, with filters, in words and as JSON', async () => {
  const { dlq, rules, sidecar } = await withDeadLetters('cmd_dlq', 12);
  const ids = async (...args: string[]): Promise<number[]> =>
    json(await dlq('list', '--json', ...args))
      .map(({ key }: { key: string }) => Number(key))
      .sort((a: number, b: number) => a - b);
  const all = Array.from({ length: 12 }, (_, n) => n + 1);
  expect(await ids()).toEqual(all);
  expect(await ids('--error', 'http_503')).toEqual(all.filter((n) => n % 2 === 0));
  expect(await ids('--error', 'rejected')).toEqual(all.filter((n) => n % 2 === 1));
  expect(await ids('--tenant', 'globex')).toEqual([3, 6, 9, 12]);
  expect(await ids('--tenant', 'globex', '--error', 'exhausted')).toEqual([6, 12]);
  expect(await ids('--observer', 'created', '--destination', 'hook', '--since', '1h')).toEqual(all);
  expect(await ids('--observer', 'other')).toEqual([]);
  expect(await ids('--limit', '3')).toHaveLength(3);

  const list = await dlq('list', '--limit', '2');
  expect(list.stdout).toMatch(/^ID +DIED +EVENT +OBSERVER\/ACTION +DESTINATION +ATTEMPTS +REASON +ERROR$/m);
  expect(list.stdout).toMatch(/^\d+ .* orders\.insert \d+ +created\/webhook-1 +hook +1 +(rejected|exhausted) /m);
  expect(list.stdout).toContain('… and 10 more: raise --limit, or filter.');
  expect(list.stdout).not.toContain('\u001b');
  expect(await dlq('list', '--observer', 'other')).toMatchObject({ status: 0, stdout: 'No dead letters.\n' });

  const [{ id, key }] = json(await dlq('list', '--json', '--error', 'http_400'));
  const shown = json(await dlq('show', id, '--json'));
  expect(shown).toMatchObject({
    ...{
      id,
      key,
      observer: 'created',
      action: 'webhook-1',
      destination: 'hook',
      reason: 'rejected',
      error_class: 'http_400',
    },
    ...{ http_status: 400, attempts: 1, replays: 0, replaying: false, response_excerpt: 'no, thanks' },
    ...{ event: { source: 'orders', operation: 'insert', new: { id: Number(key) } }, request: { method: 'POST' } },
  });
  const text = (await dlq('show', id)).stdout;
  expect(text).toMatch(/\ndied {11}\d{4}-\d\d-\d\dT[\d:.]+Z \(.* ago\)\n/);
  for (const part of [`dead letter    ${id}`, 'no, thanks', 'orders.insert', `pg-observers dlq retry ${id}`])
    expect(text).toContain(part);
  expect(await dlq('show', '999')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('There is no dead letter 999'),
  });

  const stats = json(await dlq('stats', '--json'));
  expect(stats.map((group: { dead_letters: unknown }) => Number(group.dead_letters))).toEqual([6, 6]);
  expect((await dlq('stats', '--by', 'destination')).stdout).toMatch(/^12 .* hook$/m);
  const status = await runProgram(['status', '-c', rules]);
  expect(status.stdout).toMatch(new RegExp(`^\\S+ +${sidecar.pid} +\\d+\\.\\d+\\.\\d+ +[0-9a-f]{12} `, 'm'));
  expect(status.stdout).toContain('12 dead letters: see `pg-observers dlq list`.');
  expect(json(await runProgram(['status', '-c', rules, '--json']))).toMatchObject({
    dead_letters: 12,
    instances: [{ pid: sidecar.pid }],
  });

  // The reader of a pipe leaves early.
  const head = await pipedIntoHead(['dlq', 'list', '--json', '-c', rules]);
  expect(head).toEqual({ status: 0, stderr: '' });
});

/** `pg-observers … | head -c 1`, on a pipe that is closed after the first byte. */
function pipedIntoHead(args: readonly string[]): Promise<{ status: number | null; stderr: string }> {
  const child = spawn('bash', [
    '-c',
    '"$@" | head -c 1 >/dev/null; exit "${PIPESTATUS[0]}"',
    '-',
    process.execPath,
    program,
    ...args,
  ]);
  onTestFinished(() => void child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.on('data', (text: Buffer) => {
    stderr += text;
  });
  return new Promise((resolve) => child.on('close', (status) => resolve({ status, stderr })));
}

test('dlq retry, retry-all with --dry-run, filters, --limit and --rate, and discard', async () => {
  const { database, dlq, hooks, heal } = await withDeadLetters('cmd_retry', 12);
  const before = hooks.received.total;
  const [{ id }] = json(await dlq('list', '--json', '--error', 'http_400'));
  // A failed retry keeps the row, and counts.
  expect(await dlq('retry', id)).toMatchObject({ status: 0, stdout: `Dead letter ${id} is queued again.\n` });
  await hooks.received.waitFor(before + 1);
  await eventually('the failed replay to be noted', async () => {
    const row = json(await dlq('show', id, '--json'));
    return row.replays === 1 && row.replaying === false && row.attempts === 2;
  });
  expect(await dlq('retry', '999')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('There is no dead letter 999'),
  });
  expect(await dlq('discard', '999')).toMatchObject({ status: 1 });
  expect(await dlq('discard', id)).toMatchObject({ status: 0, stdout: `Dead letter ${id} is gone.\n` });
  expect(await deadLetters(database)).toBe(11);

  heal();
  expect(await dlq('retry-all', '--dry-run')).toMatchObject({
    status: 0,
    stdout: '11 dead letters would be queued.\n',
  });
  expect(json(await dlq('retry-all', '--dry-run', '--json', '--error', 'http_503'))).toEqual({
    matching: 6,
    queued: 0,
  });
  expect(hooks.received.total).toBe(before + 1);
  expect(json(await dlq('retry-all', '--json', '--error', 'http_503', '--limit', '2'))).toEqual({
    matching: 2,
    queued: 2,
  });
  await eventually('two to leave', async () => (await deadLetters(database)) === 9);
  const began = performance.now();
  expect(await dlq('retry-all', '--rate', '10/s')).toMatchObject({
    status: 0,
    stdout: '9 dead letters queued again.\n',
  });
  // One at a time, a tenth of a second apart: eight pauses.
  expect(performance.now() - began).toBeGreaterThan(700);
  await eventually('all to leave', async () => (await deadLetters(database)) === 0);
  expect(hooks.received.total).toBe(before + 1 + 11);
  expect(await dlq('retry-all')).toMatchObject({ status: 0, stdout: '0 dead letters queued again.\n' });
});

test.each([
  [['rnu'], /unknown command 'rnu'\n\(Did you mean run\?\)\n\(see pg-observers --help\)/],
  [['run', '--no-aply'], /unknown option '--no-aply'\n\(Did you mean --no-apply\?\)\n\(see pg-observers run --help\)/],
  [['dlq', 'lst'], /unknown command 'lst'\n\(Did you mean list\?\)/],
  [['dlq', 'show'], /missing required argument 'id'\n\(see pg-observers dlq show --help\)/],
  [['dlq', 'show', 'x'], /Write the number that `dlq list` shows/],
  [['dlq', 'list', '--since', 'soon'], /Write a duration such as/],
  [['dlq', 'retry-all', '--rate', '0'], /Write a rate such as/],
  [['dlq', 'list', '--limit', '0'], /Write a whole number/],
  [['run', '--shutdown-timeout', '-1s'], /Write a duration such as/],
  [['status', '-d', 'shop:secret'], /^--database must be a URL such as postgres:[^\n]*\n$/],
  [['run', '--log-level', 'loud'], /Allowed choices are/],
])('%j is wrong usage: status 2 and a hint', async (args, message) => {
  expect(await runProgram(args)).toMatchObject({ status: 2, stdout: '', stderr: expect.stringMatching(message) });
});

test('help fits 80 columns and names the exit statuses', async () => {
  const commands = [
    '',
    'validate',
    'plan',
    'apply',
    'run',
    'status',
    'dlq',
    'dlq list',
    'dlq show',
    'dlq retry',
    'dlq retry-all',
    'dlq discard',
    'dlq stats',
    'checkpoint',
    'checkpoint show',
    'checkpoint reset',
  ];
  const ends = await Promise.all(
    commands.map((command) => runProgram([...command.split(' ').filter(Boolean), '--help'])),
  );
  for (const [n, { status, stdout, stderr }] of ends.entries()) {
    expect({ status, stderr }, commands[n]).toEqual({ status: 0, stderr: '' });
    expect(
      stdout.split('\n').filter((line) => line.length > 80),
      commands[n],
    ).toEqual([]);
  }
  expect(ends[0]?.stdout).toContain('Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 not reachable.');
});

test('status --watch shows it again until Ctrl-C, also after the database was away; with --json a line each', async () => {
  const database = await createShop('cmd_watch');
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  const rules = await rulesFile(shopRules({ database: database.url, url: nowhere }));
  await apply(rules);
  const url = proxy.through(database.url);
  const watching = startProgram(['status', '-c', rules, '--database', url, '--watch', '50ms', '--json']);
  const lines = () =>
    watching
      .stdout()
      .split('\n')
      .filter((line) => line !== '');
  await eventually('two looks', () => lines().length >= 2);
  expect(JSON.parse(lines()[1] ?? '')).toMatchObject({ instances: [], dead_letters: 0 });
  await proxy.refuse();
  await eventually('it to say that the database is away', () => lines().some((line) => !line.startsWith('{')));
  await proxy.resume();
  const before = lines().length;
  await eventually('it to go on', () =>
    lines()
      .slice(before)
      .some((line) => line.startsWith('{')),
  );
  expect(await watching.kill('SIGINT')).toMatchObject({ status: 0, stderr: '' });
});
