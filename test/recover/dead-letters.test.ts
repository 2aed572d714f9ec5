import { expect, test } from 'vitest';
import {
  countDeadLetters,
  deadLetterGroups,
  discardDeadLetter,
  listDeadLetters,
  retryDeadLetter,
  retryDeadLetters,
  showDeadLetter,
} from '../../src/transport/postgres/dead-letters.ts';
import { count, migrated } from '../deliver/fixture.ts';

const database = await migrated('dlq');
const pool = database.pool();

async function fill(): Promise<void> {
  await database.query(`
    truncate observers.dead_letters, observers.deliveries, observers.replays restart identity cascade;
    insert into observers.dead_letters
      (event_id, event_uid, event, observer, action, destination, tenant, reason, error_class, error_message, attempts, rule_version, died_at)
    select n, gen_random_uuid(), jsonb_build_object('source', 'orders', 'operation', 'insert', 'key', n::text, 'new', '{"x": 1.00}'::jsonb),
           case when n % 2 = 0 then 'even' else 'odd' end, case when n <= 10 then 'a' end, case when n <= 10 then 'd' || n % 3 end,
           case when n % 5 = 0 then 'acme' end, case when n = 7 then 'engine_fault' else 'exhausted' end,
           case when n % 4 = 0 then 'timeout' else 'http_503' end, 'Host ' || n || ' is 100% away', 3, 'v', now() - make_interval(hours => n)
    from generate_series(1, 12) n`);
}

const ids = (rows: readonly { readonly id: string }[]) => rows.map(({ id }) => Number(id));

test('filters are and-ed, the newest first, at most the limit', async () => {
  await fill();
  const list = async (filter: Parameters<typeof listDeadLetters>[1]) => ids(await listDeadLetters(pool, filter));
  expect(await list({})).toEqual([12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
  expect(await list({ limit: 2 })).toEqual([12, 11]);
  expect(await list({ observer: 'even', destination: 'd1' })).toEqual([10, 4]);
  expect(await list({ tenant: 'acme' })).toEqual([10, 5]);
  expect(await list({ error: 'timeout' })).toEqual([12, 8, 4]);
  expect(await list({ error: 'engine_fault' })).toEqual([7]);
  expect(await list({ error: 'host 3 IS 100% a' })).toEqual([3]);
  expect(await list({ sinceMs: 2.5 * 3_600_000 })).toEqual([2, 1]);
  expect(await list({ observer: "o' or true --" })).toEqual([]);
  expect(await countDeadLetters(pool, { observer: 'odd', sinceMs: 4.5 * 3_600_000 })).toBe(2);
  expect(await showDeadLetter(pool, '3')).toMatchObject({ id: '3', source: 'orders', replaying: false });
  expect((await showDeadLetter(pool, '3'))?.event).toContain('1.00');
  expect(await showDeadLetter(pool, '99')).toBeNull();
  const groups = await deadLetterGroups(pool, 'observer');
  expect(groups.map(({ cause, dead_letters }) => [cause, dead_letters])).toEqual([
    ['even', '6'],
    ['odd', '6'],
  ]);
});

test('whoever goes on behind the last one comes to all, though the first ones fail again at once', async () => {
  await fill();
  const tried: string[] = [];
  for (let after: string | null = '0'; after !== null; ) {
    const step: { queued: number; last: string | null } = await retryDeadLetters(pool, {}, 5, after);
    tried.push(String(step.queued));
    await database.query('delete from observers.deliveries');
    await database.query('delete from observers.replays');
    after = step.last;
  }
  expect(tried).toEqual(['5', '5', '2', '0']);
  const groups = await deadLetterGroups(pool, 'reason');
  expect(groups.map(({ cause, dead_letters, replays }) => [cause, dead_letters, replays])).toEqual([
    ['exhausted', '11', '11'],
    ['engine_fault', '1', '1'],
  ]);
});

test('retry queues each once, the oldest first, conditions included', async () => {
  await fill();
  expect([await retryDeadLetter(pool, '4'), await retryDeadLetter(pool, '4')]).toEqual([true, false]);
  expect(await retryDeadLetter(pool, '99')).toBeNull();
  expect(await retryDeadLetters(pool, { observer: 'even' }, 2)).toEqual({ queued: 2, last: '6' });
  const queued = await database.query('select dead_letter_id::int as id from observers.deliveries order by 1');
  expect(queued.rows).toEqual([{ id: 2 }, { id: 4 }, { id: 6 }]);
  const all = await Promise.all([retryDeadLetters(pool, {}, 100), retryDeadLetters(pool, {}, 100)]);
  expect(all.reduce((sum, { queued: n }) => sum + n, 0)).toBe(9);
  expect(await retryDeadLetters(pool, {}, 100)).toEqual({ queued: 0, last: null });
  expect([await count(database, 'deliveries'), await count(database, 'replays')]).toEqual([10, 2]);
  expect(await count(database, 'dead_letters', 'replays = 1')).toBe(12);
  expect((await listDeadLetters(pool, {})).every(({ replaying }) => replaying)).toBe(true);
});

test('discard removes one for good, and none whose replay is on its way', async () => {
  await fill();
  expect([await discardDeadLetter(pool, '1'), await discardDeadLetter(pool, '1')]).toEqual(['discarded', 'absent']);
  for (const id of ['2', '11']) {
    await retryDeadLetter(pool, id);
    expect(await discardDeadLetter(pool, id)).toBe('replaying');
  }
  // A replay that has not committed yet holds the row: discarding waits for it, and then sees what it queued.
  const replaying = await database.pool().connect();
  await replaying.query('begin');
  await replaying.query('select observers.replay(3)');
  const discarding = discardDeadLetter(pool, '3');
  await expect
    .poll(
      async () =>
        (
          await database.query(
            "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
          )
        ).rowCount,
    )
    .toBe(1);
  await replaying.query('commit');
  replaying.release();
  expect(await discarding).toBe('replaying');
  expect(await count(database, 'dead_letters')).toBe(11);
});
