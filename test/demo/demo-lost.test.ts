import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { startProgram } from '../support/processes.ts';
import { summaryOf } from './support.ts';

test('what is lost is counted, named, and status 1', async () => {
  const database = await createDatabase('demo_lost');
  const args = ['demo', '--database', database.url, '--changes', '20', '--exit', '--rate', '10/s'];
  const demo = startProgram(args);
  await demo.waitForLine(/^ +Ctrl-C/);
  // A database that swallows deliveries: the worst that could happen to the queue.
  await database.query(`
    create function public.swallow() returns trigger language plpgsql as 'begin return null; end';
    create trigger swallow before insert on observers.deliveries
    for each row when (new.action = 'slack-3') execute function public.swallow()`);
  const { status, stdout } = await demo.exited;
  expect(summaryOf(stdout).lost).toBeGreaterThan(0);
  expect(stdout).toMatch(/missing: slack: #sales Order/);
  expect(status).toBe(1);
}, 60_000);
