import { expect, onTestFinished, test } from 'vitest';
import type { EventFilter } from '../../src/domain/event.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { LogFollower, LookTooLong, listEvents } from '../../src/transport/postgres/event-log.ts';
import { migrated } from '../deliver/fixture.ts';

async function filled(label: string) {
  const database = await migrated(label);
  await database.query(`
    insert into observers.events (source, operation, key, tenant, new, created_at)
    select case when n % 3 = 0 then 'orders' else 'signups' end, case when n % 2 = 0 then 'insert' else 'update' end, (n % 10)::text,
           case when n > 440 then 'acme' end, '{}', now() - make_interval(hours => 450 - n)
    from generate_series(1, 450) n`);
  const pool = createPool(database.url, 2);
  onTestFinished(() => pool.end());
  const list = async (filter: EventFilter, limit = 1_000, options = {}) => {
    const found: number[] = [];
    for await (const { id } of listEvents(pool, filter, limit, options)) found.push(Number(id));
    return found;
  };
  return { database, pool, list };
}

const down = (from: number, to: number) => Array.from({ length: from - to + 1 }, (_, i) => from - i);
const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString();

test('pages go on where the one before ended, over all partitions, and filters are and-ed', async () => {
  const { list } = await filled('log_pages');
  expect(await list({})).toEqual(down(450, 1));
  expect(await list({}, 201)).toEqual(down(450, 250));
  expect(await list({}, 3, { before: '100' })).toEqual([99, 98, 97]);
  expect(await list({ source: 'orders' }, 3)).toEqual([450, 447, 444]);
  expect(await list({ source: 'orders', operation: 'update' }, 2)).toEqual([447, 441]);
  expect(await list({ key: '7', tenant: 'acme' })).toEqual([447]);
  expect(await list({ since: hoursAgo(2.5) })).toEqual([450, 449, 448]);
  expect(await list({ since: hoursAgo(4.5), until: hoursAgo(2.5) })).toEqual([447, 446]);
  expect(await list({ source: "o' or true --" })).toEqual([]);
});

test('a page that takes too long is ended', async () => {
  const { database, list } = await filled('log_long');
  const holder = await database.pool().connect();
  await holder.query('begin; lock table observers.events in access exclusive mode');
  await expect(list({}, 1, { timeoutMs: 50 })).rejects.toThrow(LookTooLong);
  await holder.query('rollback');
  holder.release();
});

test('who follows misses nothing and sees nothing twice, whatever commits when, in pages', async () => {
  const { database, pool } = await filled('log_follow');
  const follower = new LogFollower(pool, { source: 'orders' });
  expect((await follower.begin(2)).map(({ id }) => Number(id))).toEqual([447, 450]);
  expect(await follower.next()).toEqual([]);
  const insert = "insert into observers.events (source, operation, key) select s, 'insert', n::text";
  const late = await database.pool().connect();
  await late.query(`begin; ${insert} from unnest('{orders,signups}'::text[]) s, generate_series(0, 0) n`);
  await database.query(`${insert} from unnest('{orders}'::text[]) s, generate_series(1, 500) n`);
  const seen: number[] = [];
  const look = async () => {
    for (let events = await follower.next(); events.length > 0; events = await follower.next())
      seen.push(...events.map(({ key }) => Number(key)));
  };
  await look();
  await late.query('commit');
  late.release();
  await look();
  expect(seen).toEqual([...down(500, 1).toReversed(), 0]);
});
