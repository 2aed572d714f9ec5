/** A database of 0.1.0 in the middle of its work, migrated while writers write. */

import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { bundledMigrations } from '../../src/transport/postgres/migrations.ts';
import { eventually, receiver, rules, run } from '../deliver/fixture.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { connect } from './support.ts';

/**
 * Of keys 1 to 6, versions 1 to 4 each. The router of 0.1.0 has come to the middle of a target: versions 1 and 2 are routed. Of
 * these, key 1 waits for its second attempt, key 2 is claimed by an instance that is gone, key 3 had its first one die and
 * replayed, key 4 has a dead letter, the condition of key 5 could not be evaluated and is asked for again.
 */
const inTheMiddle = `
  update observers.checkpoints set target = pg_current_snapshot(),
    after_id = (select max(id) from observers.events where (new ->> 'v')::int = 2);
  insert into observers.lanes (destination, ordering_key, pending) select 'hook', key::text, 2 from generate_series(1, 2) key;
  insert into observers.lanes (destination, ordering_key, pending) select 'hook', key::text, 1 from generate_series(3, 4) key;
  insert into observers.lanes (destination, ordering_key, pending) values ('hook', '6', 2);
  insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, ordering_key, state, attempts,
                                    claimed_by, rule_version, last_error)
  select id, created_at, uid, 'all', 'webhook-1', 'hook', key,
         case when (new ->> 'v')::int = 2 and key in ('1', '2', '6') then 'blocked' when key = '2' then 'claimed' else 'ready' end,
         (key = '1' and (new ->> 'v')::int = 1)::int, case when key = '2' and (new ->> 'v')::int = 1 then gen_random_uuid() end, 'old', 'no'
  from observers.events
  where key in ('1', '2', '6') and (new ->> 'v')::int <= 2 or key in ('3', '4') and (new ->> 'v')::int = 2 order by id;
  insert into observers.dead_letters (event_id, event_uid, event, observer, action, destination, reason, attempts, rule_version)
  select e.id, e.uid, observers.event_json(e), 'all', case when key <> '5' then 'webhook-1' end, case when key <> '5' then 'hook' end,
         case when key = '5' then 'engine_fault' else 'exhausted' end, 8, 'old'
  from observers.events e where key in ('3', '4') and (new ->> 'v')::int = 1 or key = '5' and (new ->> 'v')::int <= 2 order by id;
  select observers.replay(id) from observers.dead_letters where event ->> 'key' in ('3', '5')`;

/** The tables and triggers as 0.1.0 left them. */
async function databaseOf010(database: TestDatabase): Promise<void> {
  const [first] = bundledMigrations();
  expect(first?.name).toBe('0001_observers');
  await database.query('create table public.hot (id integer primary key, v integer not null default 0)');
  await database.query(first?.sql ?? '');
  // As 0.1.0 generated them: those of today call what 0001 does not have.
  await database.query(readFileSync(new URL('capture-0.1.0.sql', import.meta.url), 'utf8'));
}

const configOf = (url: string, hook: string) =>
  rules(url, {
    sources: { hot: { table: 'public.hot' } },
    destinations: { hook: { webhook: { url: hook } } },
    observers: { all: { source: 'hot', order_by: 'key', actions: [{ webhook: 'hook' }] } },
    settings: { poll_interval: '100ms' },
  });

test('0.1.0 in the middle of everything, migrated while writers write: all is delivered, in order', async () => {
  const database = await createDatabase('upgrade');
  await databaseOf010(database);
  await database.query('insert into public.hot select n, 1 from generate_series(1, 6) n');
  for (let v = 2; v <= 4; v++) await database.query('update public.hot set v = $1', [v]);
  await database.query(inTheMiddle);
  expect(
    new Set((await database.query('select state from observers.deliveries')).rows.map(({ state }) => state)),
  ).toEqual(new Set(['ready', 'claimed', 'blocked']));

  // One that began before the migration and ends after it, and one that never pauses.
  const before = await connect(database.url);
  await before.query('begin');
  await before.query('insert into public.hot values (8, 1)');
  let writing = true;
  let written = 0;
  const writer = (async () => {
    const client = await connect(database.url);
    for (; writing || written < 50; written++)
      await client.query('insert into public.hot values ($1, 1)', [100 + written]);
  })();
  const arrived: string[] = [];
  const hooks = await receiver({
    respond: ({ body }) => {
      const { key, data } = JSON.parse(body);
      arrived.push(`${key}.${data.new.v}`);
      return { status: 204 };
    },
  });
  await run(configOf(database.url, hooks.url));
  await before.query('commit');
  writing = false;
  await writer;
  await eventually(`all of it`, async () => {
    const { rows } = await database.query(
      'select from observers.deliveries union all select from observers.replays union all select from observers.lanes',
    );
    return rows.length === 0 && arrived.length >= 23 + 1 + written;
  });
  const of = (key: number) => arrived.filter((one) => one.startsWith(`${key}.`));
  for (const key of [1, 2, 6]) expect(of(key)).toEqual([1, 2, 3, 4].map((v) => `${key}.${v}`));
  expect(of(4)).toEqual(['4.2', '4.3', '4.4']);
  // Replays come when they come.
  for (const key of [3, 5]) expect(of(key).toSorted()).toEqual([1, 2, 3, 4].map((v) => `${key}.${v}`));
  expect(of(8)).toEqual(['8.1']);
  expect(new Set(arrived).size).toBe(arrived.length);
  expect(arrived).toHaveLength(23 + 1 + written);
  const { rows: dead } = await database.query("select event ->> 'key' as key, holds_lane from observers.dead_letters");
  expect(dead).toEqual([{ key: '4', holds_lane: false }]);
}, 60_000);

test('migrations after the first only add, so that an instance of the version before runs on beside newer ones', () => {
  const folder = new URL('../../migrations/', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.sql') && !name.startsWith('0001'));
  expect(files.length).toBeGreaterThan(0);
  const taking =
    /\b(?:drop\s+(?:table|column|view|schema|sequence|constraint|type)|rename\s+(?:to|column)|alter\s+column\s+\w+\s+(?:type|set\s+not\s+null))\b/gi;
  for (const file of files) {
    const sql = readFileSync(new URL(file, folder), 'utf8').replaceAll(/--.*$/gm, '');
    expect({ file, takesAway: sql.match(taking) ?? [] }).toEqual({ file, takesAway: [] });
  }
});
