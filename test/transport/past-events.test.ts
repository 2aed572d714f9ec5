/** The log in pages, as `backtest` reads it: each event exactly as a row of its own would be, in order, and no more than asked for. */

import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { EventRecord } from '../../src/domain/event.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { type EventRow, eventColumns, toEventRecord } from '../../src/transport/postgres/event-row.ts';
import { migrate } from '../../src/transport/postgres/migrations.ts';
import { type PastPage, type PastRange, readPastEvents, readSpan } from '../../src/transport/postgres/past-events.ts';
import { createDatabase } from '../support/database.ts';

const database = await createDatabase('past_events');
/** Several pages. */
const events = 5_000;
const sources = ['orders', 'a "source"\nof \\ two lines'];
const everything: PastRange = { sinceMs: 0, untilMs: Date.now() + 3_600_000, sources };

const routed = 'update observers.checkpoints set snapshot = pg_current_snapshot(), target = null, after_id = 0';

beforeAll(async () => {
  const pool = createPool(database.url, 1);
  await migrate(pool).finally(() => pool.end());
  const awkward = (by: number) =>
    `(array['plain', '', null, E'two\\nlines', '"quoted" \\ {"a": 1}', E'\\x1f,\\t', 'ünïcode 🎉'])[1 + (n + ${by}) % 7]`;
  await database.query(
    `insert into observers.events (source, operation, table_schema, table_name, key, tenant, old, new, payload, context, created_at)
     select $1, (array['insert', 'update', 'delete'])[1 + n % 3], ${awkward(0)}, ${awkward(1)}, ${awkward(2)}, ${awkward(3)},
            case when n % 2 = 0 then jsonb_build_object('n', n) end, case when n % 3 > 0 then jsonb_build_object('text', ${awkward(4)}, 'price', 1.50) end,
            case when n % 5 = 0 then to_jsonb(${awkward(5)}) end, case when n % 11 = 0 then '{"user": "a"}'::jsonb end,
            now() - interval '1 hour' + n * interval '1 millisecond'
     from generate_series(1, $2::int) n`,
    [sources[1], events],
  );
  await database.query(`insert into observers.events (source, operation) values ('other', 'insert')`);
  await database.query(routed);
  await database.query(`insert into observers.events (source, operation) values ('orders', 'insert')`);
}, 60_000);

function openPool() {
  const pool = createPool(database.url, 2);
  onTestFinished(() => pool.end());
  return pool;
}

async function* pagesOf(range: PastRange): AsyncGenerator<PastPage> {
  const pool = openPool();
  const span = await readSpan(pool, range);
  if (span !== null) yield* readPastEvents(pool, range, span);
}

async function allOf(range: PastRange): Promise<PastPage[]> {
  const pages: PastPage[] = [];
  for await (const page of pagesOf(range)) pages.push(page);
  return pages;
}

async function asRows(where: string): Promise<EventRecord[]> {
  const { rows } = await openPool().query<EventRow>(
    `select ${eventColumns('e')} from observers.events e where ${where} order by e.id`,
  );
  return rows.map(toEventRecord);
}

describe('pages of the log', () => {
  test('hold each routed event of the sources as it is, in the order of ids', async () => {
    const pages = await allOf(everything);
    expect(pages.length).toBeGreaterThan(2);
    const stored = await asRows(`e.source = '${sources[1]}'`);
    expect(stored).toHaveLength(events);
    expect(pages.flatMap((page) => page.events)).toEqual(stored);
  });

  test('end where they are asked to', async () => {
    const [first] = await asRows(`e.source = '${sources[1]}'`);
    const sinceMs = Date.parse(first?.at ?? '');
    const pages = await allOf({ ...everything, sinceMs, untilMs: sinceMs + 2_500 });
    const found = pages.flatMap((page) => page.events);
    const [since, until] = [sinceMs, sinceMs + 2_500].map((ms) => `to_timestamp(${ms}::float8 / 1000)`);
    expect(found).toEqual(await asRows(`e.created_at >= ${since} and e.created_at < ${until}`));
    expect(found.length).toBeGreaterThan(2_400);
    expect(await allOf({ ...everything, untilMs: 1 })).toEqual([]);
    expect(await allOf({ ...everything, sources: ['nothing'] })).toEqual([]);
  });

  test('know who fired, on the page that has the event', async () => {
    const attempt = (observer: string, action: string) => `
      insert into observers.attempts (delivery_id, event_id, event_uid, observer, action, destination, attempt, started_at, duration_ms, outcome)
      select 1, id, uid, '${observer}', '${action}', 'd', 1, created_at, 1, 'delivered' from observers.events where id % 1500 = 7 and source <> 'other'`;
    for (const sql of [attempt('a', 'x'), attempt('a', 'y'), attempt('b', 'x'), attempt('c', '')])
      await database.query(sql);
    const fired: string[] = [];
    for (const page of await allOf(everything)) {
      const ids = new Set(page.events.map(({ id }) => id));
      for (const [id, names] of page.fired) {
        expect(ids).toContain(id);
        fired.push(`${id} ${names.toSorted()}`);
      }
    }
    expect(fired).toEqual(['7 a,b', '1507 a,b', '3007 a,b', '4507 a,b']);
  });

  test('are small where events are large', async () => {
    await database.query(
      `insert into observers.events (source, operation, new) select 'large', 'insert', to_jsonb(repeat('x', 10000000)) from generate_series(1, 3)`,
    );
    await database.query(routed);
    const counts: number[] = [];
    for await (const page of pagesOf({ ...everything, sources: ['large'] })) counts.push(page.events.length);
    expect(counts).toEqual([1, 1, 1]);
  });

  test('end with the error of the database, after the pages before it; one that nobody waits for harms nobody', async () => {
    const read: string[] = [];
    const reading = (async () => {
      for await (const page of pagesOf(everything)) {
        read.push(...page.events.map(({ id }) => id));
        await database.query('alter table if exists observers.attempts rename to attempts_away');
      }
    })();
    await expect(reading).rejects.toThrow('relation "observers.attempts" does not exist');
    await database.query('alter table observers.attempts_away rename to attempts');
    // The first page, and the one that was on its way.
    expect([1_000, 2_000]).toContain(read.length);
    expect(read).toEqual(Array.from(read, (_, i) => String(i + 1)));

    for await (const _ of pagesOf(everything)) {
      await database.query('alter table observers.attempts rename to attempts_away');
      break;
    }
    await database.query('alter table observers.attempts_away rename to attempts');
  });
});
