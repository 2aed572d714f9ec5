/**
 * The log and what is known of its deliveries, page by page, for a look at the past that writes nothing: keyset pages, each a statement
 * of its own. A cursor would hold a snapshot for as long as it runs, and vacuum with it.
 */

import type pg from 'pg';
import type { EventRecord } from '../../domain/event.ts';
import { type PageRow, pageColumns, toEventRecords } from './event-page.ts';
import { eventBytes } from './event-row.ts';

export interface PastRange {
  /** Unix milliseconds. */
  readonly sinceMs: number;
  readonly untilMs: number;
  /** As events carry them: the topic of a topic source. */
  readonly sources: readonly string[];
}

/** Ids of the first and the last event in a range of time. */
export interface PastSpan {
  readonly first: string;
  readonly last: string;
  /** When the first of all was captured that the log still has; as PostgreSQL prints it. */
  readonly begins: string;
}

const within = 'created_at >= to_timestamp($1::float8 / 1000) and created_at < to_timestamp($2::float8 / 1000)';

/** @returns null when there is no event. Both ends are found at the ends of the days that the range touches. */
export async function readSpan(pool: pg.Pool, { sinceMs, untilMs }: PastRange): Promise<PastSpan | null> {
  const { rows } = await pool.query<{ first: string | null; last: string | null; begins: string | null }>(
    `select (select e.id::text from observers.events e where ${within} order by e.id limit 1) as first,
            (select e.id::text from observers.events e where ${within} order by e.id desc limit 1) as last,
            (select e.created_at from observers.events e order by e.id limit 1) as begins`,
    [sinceMs, untilMs],
  );
  const { first = null, last = null, begins = null } = rows[0] ?? {};
  return first === null || last === null || begins === null ? null : { first, last, begins };
}

/**
 * Events of a page, and what they may take in memory all together (a larger one comes alone). Of 2,000 the server takes half as long
 * again for each: they no longer fit its processor's cache.
 */
const eventsPerPage = 1_000;
const bytesPerPage = 16 * 1024 * 1024;

/**
 * $1, $2 time, $3 after id, $4 last id, $5 sources. Only what is routed: of the others nobody can say what they did. The snapshot is
 * asked only about events younger than its oldest transaction.
 *
 * Fired, by the history of attempts: what was attempted at least once, or recorded by a shadow. In the same statement, for
 * another round trip would be a pause in the reading ahead. Nested, for a materialized page would be copied once more.
 */
const pageQuery = `
select page.*, fired.pairs
from (
  select ${pageColumns('e')}, min(e.id) as first, max(e.id) as last
  from (
    select e.* from (
      select e.*, sum(${eventBytes('e')}) over (order by e.id rows unbounded preceding) as bytes, row_number() over (order by e.id) as n
      from (
        select e.* from observers.events e join observers.checkpoints c on c.consumer = 'router'
        where ${within.replaceAll('created_at', 'e.created_at')} and e.id > $3::bigint and e.id <= $4::bigint and e.source = any ($5::text[])
          and (e.xid < pg_snapshot_xmin(c.snapshot) or pg_visible_in_snapshot(e.xid, c.snapshot)
               or (c.target is not null and e.id <= c.after_id and pg_visible_in_snapshot(e.xid, c.target)))
        order by e.id limit ${eventsPerPage}
      ) e
    ) e
    where e.bytes <= ${bytesPerPage} or e.n = 1
    order by e.id
  ) e
) page
cross join lateral (
  select coalesce(json_agg(json_build_array(a.event_id::text, a.observer)), '[]') as pairs
  from (
    select distinct event_id, observer from observers.attempts
    where event_id between page.first and page.last and action <> '' and started_at >= to_timestamp($1::float8 / 1000) - interval '1 hour'
  ) a
) fired`;

export interface PastPage {
  /** In the order of their ids; never empty. */
  readonly events: readonly EventRecord[];
  /** Names of the observers that fired on an event, as far as the history knows: it led to an attempt, or to a line of a shadow. */
  readonly fired: ReadonlyMap<string, readonly string[]>;
}

/**
 * All pages in order, one of them ahead: the server reads the next while the caller looks at this one. No further, so that memory
 * stays the same.
 */
export async function* readPastEvents(pool: pg.Pool, range: PastRange, span: PastSpan): AsyncGenerator<PastPage> {
  let next = readPage(pool, range, span, String(BigInt(span.first) - 1n));
  for (;;) {
    const page = await next;
    const last = page.events.at(-1);
    if (last === undefined) return;
    next = readPage(pool, range, span, last.id);
    // An error of it is told when its turn comes; nobody waits for it when this is the last page that is wanted.
    next.catch(() => {});
    yield page;
  }
}

async function readPage(
  pool: pg.Pool,
  { sinceMs, untilMs, sources }: PastRange,
  { last }: PastSpan,
  after: string,
): Promise<PastPage> {
  const values = [sinceMs, untilMs, after, last, sources];
  const { rows } = await pool.query<PageRow & { pairs: readonly (readonly [string, string])[] }>({
    name: 'past_events',
    text: pageQuery,
    values,
  });
  const [row] = rows;
  const fired = new Map<string, string[]>();
  for (const [id, observer] of row?.pairs ?? []) {
    const names = fired.get(id);
    if (names === undefined) fired.set(id, [observer]);
    else names.push(observer);
  }
  return { events: row === undefined ? [] : toEventRecords(row), fired };
}

/** An observer fired on an event: it led to a delivery, whatever became of that. */
export interface Fired {
  readonly event_id: string;
  readonly observer: string;
}

const rowsPerLook = 20_000;

/** What waits in the queue or died, in pages: neither has an index by event, so this is read once, before the events. */
export async function* readQueuedAndDead(pool: pg.Pool, { first, last }: PastSpan): AsyncGenerator<readonly Fired[]> {
  for (const table of ['deliveries', 'dead_letters']) {
    for (let after = '0'; ; ) {
      const { rows } = await pool.query<Fired & { id: string }>(
        `select t.id::text, t.event_id::text, t.observer from observers.${table} t
         where t.id > $1::bigint and t.event_id between $2::bigint and $3::bigint and t.action is not null
         order by t.id limit ${rowsPerLook}`,
        [after, first, last],
      );
      yield rows;
      const newest = rows.at(-1);
      if (newest === undefined || rows.length < rowsPerLook) break;
      after = newest.id;
    }
  }
}
