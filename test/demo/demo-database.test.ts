import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { runProgram, startProgram } from '../support/processes.ts';
import { summaryOf } from './support.ts';

test('--database: creates its tables, says so, and leaves them; a second run uses them', async () => {
  const database = await createDatabase('demo');
  const args = ['demo', '--database', database.url, '--changes', '12', '--exit', '--rate', '40/s'];
  const first = await runProgram(args);
  expect(first.stderr).toBe('');
  expect(first.stdout).toContain('yours, with the tables orders and customers, just created; they stay');
  const summary = summaryOf(first.stdout);
  expect(summary).toMatchObject({ lost: 0, replayed: summary.deadLettered });
  expect(summary.deadLettered).toBeGreaterThan(0);
  const { rows } = await database.query<{ events: number }>('select count(*)::int as events from observers.events');
  expect(summary.events).toBe(rows[0]?.events);
  const left = await database.query('select from observers.deliveries union all select from observers.dead_letters');
  expect(left.rowCount).toBe(0);

  const second = startProgram(args);
  await second.waitForLine(/yours, with its tables of an earlier run/);
  await second.waitForLine(/orders\.(insert|update)/);
  const { status, stdout } = await second.kill('SIGINT');
  expect(summaryOf(stdout).lost).toBe(0);
  expect(status).toBe(0);
}, 60_000);

test("--database: does not write invented orders into somebody's table", async () => {
  const database = await createDatabase('demo_foreign');
  await database.query('create table public.orders (id int primary key)');
  const { status, stderr } = await runProgram(['demo', '--database', database.url]);
  expect(stderr).toMatch(/already has public\.orders, .* Name an empty database/);
  expect(status).toBe(2);
  const { rows } = await database.query(
    `select relname from pg_class where relname in ('customers') or relname like 'zz%'`,
  );
  expect(rows).toEqual([]);
});

test('--database: a server that is away is status 3', async () => {
  const { status, stderr } = await runProgram(['demo', '--database', 'postgres://nobody:secret@127.0.0.1:1/x']);
  expect(stderr).toMatch(/127\.0\.0\.1:1\/x is not reachable/);
  expect(stderr).not.toContain('secret');
  expect(status).toBe(3);
});
