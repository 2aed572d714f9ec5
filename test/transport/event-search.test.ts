import { expect, onTestFinished, test } from 'vitest';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { LookTooLong } from '../../src/transport/postgres/event-log.ts';
import { type Search, searchEvents, wordsOf } from '../../src/transport/postgres/event-search.ts';
import { createSearchIndex, dropSearchIndex } from '../../src/transport/postgres/search-index.ts';
import { migrated } from '../deliver/fixture.ts';

async function filled(label: string) {
  const database = await migrated(label);
  await database.query(`
    insert into observers.events (source, operation, key, tenant, old, new, payload, created_at) values
      ('orders', 'insert', 'k-1', 'acme', null, '{"note": "Refund for Acme, Inc.", "total": 42.50}', null, now()),
      ('orders', 'update', 'k-2', null, '{"note": "acme"}', '{"note": "a refund"}', null, now()),
      ('orders', 'insert', 'k-3', null, null, '{"note": "acme only", "mail": "ann@example.com"}', null, now()),
      ('signups', 'emit', null, null, null, null, '{"deep": ["it''s", {"x": "Zürich & (Genève) | ! <-> :*"}]}', now()),
      ('orders', 'insert', 'old', null, null, '{"note": "acme refund of last week"}', null, now() - interval '3 days');
    insert into observers.attempts
      (event_id, event_uid, observer, action, destination, attempt, started_at, duration_ms, outcome, error_message, response_excerpt)
    select e.id, e.uid, 'o', 'webhook-1', 'hook', 1, now(), 1, 'retry', 'teapot is short and stout', '{"error": "no such acme customer"}'
    from observers.events e where e.key in ('k-2', 'k-3')`);
  const pool = createPool(database.url, 2);
  onTestFinished(() => pool.end());
  const since = new Date(Date.now() - 86_400_000).toISOString();
  const search = async (words: string, more: Partial<Search> = {}) => {
    const found = await searchEvents(pool, { words, since, limit: 20, timeoutMs: 30_000, ...more });
    return found.map(({ event, attempt }) => `${event.key}${attempt === null ? '' : ` by ${attempt.destination}`}`);
  };
  return { database, pool, search };
}

test('words of images, payloads, keys and answers, the newest first, each event once', async () => {
  const { search } = await filled('search_words');
  expect(await search('acme refund')).toEqual(['k-2', 'k-1']);
  expect(await search('ACME -refund')).toEqual(['k-3', 'k-2 by hook']);
  expect(await search('"refund for acme"')).toEqual(['k-1']);
  expect(await search('42.50')).toEqual(['k-1']);
  expect(await search('k-3 or ann@example.com')).toEqual(['k-3']);
  expect(await search('teapot')).toEqual(['k-3 by hook', 'k-2 by hook']);
  expect(await search('teapot', { key: 'k-2' })).toEqual(['k-2 by hook']);
  expect(await search('acme', { tenant: 'acme' })).toEqual(['k-1']);
  expect(await search('acme', { limit: 1 })).toEqual(['k-3']);
  expect(await search('acme refund', { since: '2000-01-01T00:00:00Z' })).toEqual(['old', 'k-2', 'k-1']);
  expect(
    await search('acme', { since: '2000-01-01T00:00:00Z', until: new Date(Date.now() - 86_400_000).toISOString() }),
  ).toEqual(['old']);
});

test.each([
  ["it's", ['null']],
  ["o'reilly'; drop table observers.events --", []],
  ['zürich & (genève) | ! <-> :*', ['null']],
  ['"zürich', ['null']],
  ['\\\\ zürich :ABCD', []],
  ['%_zürich', ['null']],
])('%j is a text to look for and nothing else', async (words, keys) => {
  const { search } = await filled('search_hostile');
  expect(await search(words)).toEqual(keys);
});

test('what has no word is no search, and a look that takes too long is ended', async () => {
  const { database, pool, search } = await filled('search_none');
  expect(await wordsOf(pool, ' & | ! () "" ')).toBeNull();
  expect(await wordsOf(pool, 'x')).toBe("'x'");
  await database.query(
    "insert into observers.events (source, operation, new) select 'orders', 'insert', jsonb_build_object('n', repeat('word ', 400)) from generate_series(1, 20000)",
  );
  await expect(search('absent', { timeoutMs: 20 })).rejects.toThrow(LookTooLong);
});

test('an event with more words than a search can hold fails nobody', async () => {
  const { database } = await filled('search_large');
  const { rows } = await database.query<{ words: string }>(
    `select observers.event_words(null, jsonb_build_object('n', (select string_agg(md5(n::text), ' ') from generate_series(1, 60000) n)), null, 'k')::text as words`,
  );
  expect(rows[0]?.words).toBe('');
});

test('the index is built, is used, comes with days to come, and can be taken away', async () => {
  const { database, pool, search } = await filled('search_index');
  const writer = await database.pool().connect();
  // What was left by an earlier one that was killed.
  await database.query('create index events_default_words_idx on observers.events_default (id)');
  const built: string[] = [];
  await createSearchIndex(pool, (table) => built.push(table));
  expect(built).toContain('events_default');
  expect(built.some((table) => table.startsWith('attempts_2'))).toBe(true);
  await createSearchIndex(pool, (table) => built.push(`again ${table}`));
  expect(built.filter((table) => table.startsWith('again'))).toEqual([]);
  await database.query('select observers.ensure_partitions(6)');
  const { rows } = await database.query(
    `select count(*) filter (where not x.indisvalid)::int as invalid, (select count(*)::int from pg_inherits where inhparent = 'observers.events'::regclass) as days,
            count(*)::int as indexes
     from pg_inherits i join pg_index x on x.indexrelid = i.inhrelid where i.inhparent = 'observers.events_words_idx'::regclass`,
  );
  expect(rows).toEqual([{ invalid: 0, days: 8, indexes: 8 }]);
  expect(await search('acme refund')).toEqual(['k-2', 'k-1']);
  await writer.query('set enable_seqscan = off; set enable_indexscan = off');
  const { rows: plan } = await writer.query<{ 'QUERY PLAN': string }>(
    "explain select id from observers.events where observers.event_words(old, new, payload, key) @@ websearch_to_tsquery('simple', 'acme')",
  );
  expect(plan.map((row) => row['QUERY PLAN']).join('\n')).toMatch(/Bitmap Index Scan on .*words/);
  writer.release();
  await dropSearchIndex(pool);
  const { rows: left } = await database.query("select from pg_class where relname like '%words_idx'");
  expect(left).toEqual([]);
});
