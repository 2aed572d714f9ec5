import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { partitions, pastDay, routed } from '../recover/days.ts';
import { runProgram } from '../support/processes.ts';
import { apply, createShop } from './shop.ts';
import { rulesFile } from './support.ts';

test('retention show and run; what went into the archive is printed as it was', { timeout: 120_000 }, async () => {
  const database = await createShop('retention');
  const archive = mkdtempSync(join(tmpdir(), 'pgo-archive-'));
  onTestFinished(() => rmSync(archive, { recursive: true, force: true }));
  const rules = await rulesFile(`
version: 1
database: ${database.url}
settings: { retention: { events: 3d, archive: { directory: ${archive} } } }
sources:
  orders: { table: public.orders }
  signups: { topic: user.signup }
observers: { all: { source: orders, actions: [{ webhook: "http://127.0.0.1:9/" }] } }
`);
  await apply(rules);
  const program = (...args: string[]) => runProgram([...args, '-c', rules]);
  const old = [await pastDay(database, 9), await pastDay(database, 8)];
  for (const daysAgo of [9, 8]) {
    await database.query(
      `insert into observers.events (source, operation, key, payload, new, created_at)
       select 'user.signup', 'emit', n::text,
              case n when 3 then '{"a": [{"new": 1, "old": "}, \\"new\\": {"}], "n": 12345678901234567890.10}'::jsonb else '"x"' end,
              '{"old": null, "new": [1, {}]}', (current_date - $1::int + time '12:00') at time zone 'UTC' + n * interval '1 s'
       from generate_series(1, 5) n`,
      [daysAgo],
    );
  }
  const held = await program('retention', 'show');
  expect(held.stdout).toMatch(new RegExp(`^${old[0]} .* event [0-9a-f-]{36} is not routed yet$`, 'm'));
  await routed(database);
  const shown = JSON.parse((await program('events', 'show', '3', '--json')).stdout);
  const listed = await program('events', 'list', '--json', '--until', '7d');
  // The last of those that are made ahead.
  const coming = (await partitions(database, 'attempts')).at(-2) ?? '';
  await database.query(`drop table observers.${coming}`);
  const dry = await program('retention', 'run', '--dry-run');
  expect(dry).toMatchObject({ status: 0, stderr: '' });
  expect(dry.stdout.split('\n')).toEqual([
    `${coming}         –  a day to come  to make`,
    ...old.map((partition) => expect.stringMatching(`^${partition}    +[\\d.]+ kB  past its time  to drop$`)),
    expect.stringMatching(/^Log and history take .* then\.$/),
    '',
  ]);
  expect(await partitions(database, 'attempts')).not.toContain(coming);
  expect(readdirSync(archive)).toEqual([]);

  const run = JSON.parse((await program('retention', 'run', '--json')).stdout);
  expect(run.ahead).toEqual([{ partition: coming, result: 'made' }]);
  expect(await partitions(database, 'attempts')).toContain(coming);
  expect(run.steps).toMatchObject(old.map((partition) => ({ partition, result: 'dropped', archived: { rows: 5 } })));
  expect((await program('events', 'list', '--json', '--until', '7d')).stdout).toBe('[]\n');

  const archived = (...args: string[]) => program('events', 'list', '--archive', archive, ...args);
  expect((await archived('--json')).stdout).toBe(listed.stdout);
  expect(JSON.parse((await archived('--json', '--before', '4', '--limit', '1')).stdout)).toEqual([shown]);
  expect((await archived('--json', '--before', '4', '--limit', '1')).stdout).toContain('12345678901234567890.10');
  expect((await archived('--limit', '1')).stdout).toMatch(
    /^ID .*\n10 .* signups\.emit +5 .*\n… perhaps more: --before 10/,
  );
  const twice = JSON.parse((await archived('--json', '--key', '2', '--source', 'signups')).stdout);
  expect(twice.map(({ id }: { id: string }) => id)).toEqual(['7', '2']);
  expect((await archived('--since', '1d')).stdout).toBe('No events.\n');

  const absent = await program('events', 'list', '--archive', '/nonexistent');
  expect(absent).toMatchObject({ status: 1, stdout: '' });
  expect(absent.stderr).toMatch(/^The archive \/nonexistent can't be read: ENOENT/);
  expect((await program('retention', 'run')).stdout).toMatch(/^No day is due\.\nLog and history take [\d.]+ kB\.\n$/);
});
