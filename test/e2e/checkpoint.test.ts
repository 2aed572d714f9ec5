import { expect, test } from 'vitest';
import { runProgram } from '../support/processes.ts';
import { createShop, keyOf, receiver, shopRules } from './shop.ts';
import { rulesFile, startSidecar } from './support.ts';

test('checkpoint show and reset: in words and as JSON, counted before, asked for, and taken up by an instance that runs', {
  timeout: 90_000,
}, async () => {
  const database = await createShop('checkpoint');
  const hooks = await receiver();
  const rules = await rulesFile(shopRules({ database: database.url, url: hooks.url }));
  const checkpoint = (...args: string[]) => runProgram(['checkpoint', ...args, '-c', rules]);
  const sidecar = await startSidecar(rules);
  for (let id = 1; id <= 3; id++) await database.query('insert into public.orders values ($1)', [id]);
  await hooks.received.waitFor(3);

  const shown = await checkpoint('show');
  expect(shown).toMatchObject({ status: 0, stdout: expect.stringMatching(/^snapshot +\d+:\d+:/) });
  expect(shown.stdout).toMatch(/^behind +0 events$/m);
  expect(shown.stdout).toMatch(new RegExp(`^routed by +.* ${sidecar.pid}$`, 'm'));
  expect(JSON.parse((await checkpoint('show', '--json')).stdout)).toMatchObject({
    snapshot: expect.stringMatching(/^\d+:\d+:/),
    target: null,
    after_id: '0',
    version: expect.stringMatching(/^\d+$/),
    system_identifier: expect.stringMatching(/^\d+$/),
    same_cluster: true,
    environment: null,
    lag_events: 0,
    lag_ms: null,
    oldest_unrouted: null,
    held_back_by: [],
  });

  const { rows } = await database.query<{ id: string; uid: string }>(
    'select id::text, uid::text from observers.events order by id limit 1',
  );
  const first = rows[0];
  if (first === undefined) throw new Error('no event');
  const counted = `Everything up to event ${first.id} would count as routed: 2 events would be routed, 2 of them again; 0 events that are not routed would be skipped.`;
  expect(await checkpoint('reset', '--to', first.id, '--dry-run')).toMatchObject({ status: 0, stdout: `${counted}\n` });
  expect(await checkpoint('reset', '--to', first.uid)).toMatchObject({
    status: 2,
    stderr: `${counted}\nNobody to ask: pass --yes to do it, or --dry-run.  [PGO-CONFIRM]\n`,
  });
  const done = await checkpoint('reset', '--to', first.uid, '--yes', '--json');
  expect(JSON.parse(done.stdout)).toMatchObject({
    after_event: first.id,
    to_route: 2,
    again: 2,
    skipped: 0,
    reset: true,
  });
  const again = await hooks.received.waitFor(5);
  expect(again.map(keyOf)).toEqual(['1', '2', '3', '2', '3']);
  expect(again[3]?.headers['webhook-id']).toBe(again[1]?.headers['webhook-id']);
  expect(await checkpoint('reset', '--xids-preserved')).toMatchObject({
    status: 0,
    stdout: 'The checkpoint is of this cluster already.\n',
  });
});

test('after a restore into another cluster `run` names the command that resolves it, and that command does', {
  timeout: 90_000,
}, async () => {
  const database = await createShop('checkpoint_restored');
  const hooks = await receiver();
  const rules = await rulesFile(shopRules({ database: database.url, url: hooks.url }));
  await (await startSidecar(rules)).kill();
  await database.query('insert into public.orders values (1)');
  await database.query("update observers.checkpoints set system_identifier = 1, snapshot = '900000000:900000000:'");
  const refused = await runProgram(['run', '-c', rules], { env: { PG_OBSERVERS_LISTEN: 'off' } });
  expect(refused.status).toBe(1);
  const named = /`pg-observers (checkpoint reset --to) <time\|event-id\|now>`/.exec(refused.stderr)?.[1] ?? '';
  const end = await runProgram([...named.split(' '), '1h', '--yes', '-c', rules]);
  expect(end).toMatchObject({
    status: 0,
    stdout: expect.stringContaining(
      "1 event will be routed. Which were routed before the restore can't be known here.",
    ),
  });
  await startSidecar(rules);
  expect((await hooks.received.waitFor(1)).map(keyOf)).toEqual(['1']);
});

test.each([
  [['reset'], /Give either --to .* or --xids-preserved/],
  [['reset', '--to', 'now', '--xids-preserved'], /Give either --to/],
  [['reset', '--to', 'yesterday'], /Write now, an event id, an event uid, 2h, or 2026-11-20T12:00:00Z/],
  [['reset', '--to', '2026-11-20T12:00:00'], /with a zone/],
])('checkpoint %j is wrong usage', async (args, message) => {
  expect(await runProgram(['checkpoint', ...args])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(message),
  });
});
