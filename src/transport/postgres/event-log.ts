/** The log for a person who looks: pages by key, newest first, and what comes in while somebody watches. Reads only. */

import type pg from 'pg';
import type { EventFilter, EventRecord } from '../../domain/event.ts';
import { withTransaction } from './connection.ts';
import { type EventRow, eventColumns, toEventRecord } from './event-row.ts';
import { sqlState } from './failures.ts';

/** Of an event `e`, $1 – $6. */
export const matching = `
  ($1::text is null or e.source = $1) and ($2::text is null or e.operation = $2) and ($3::text is null or e.key = $3)
  and ($4::text is null or e.tenant = $4) and ($5::timestamptz is null or e.created_at >= $5) and ($6::timestamptz is null or e.created_at < $6)`;

export const filterValues = ({ source, operation, key, tenant, since, until }: EventFilter) => [
  source ?? null,
  operation ?? null,
  key ?? null,
  tenant ?? null,
  since ?? null,
  until ?? null,
];

/** Images of a page, at most: it is in memory as a whole. */
const pageEvents = 200;

/** A filter that matches next to nothing reads all of the log that is within its time. */
export class LookTooLong extends Error {}

/**
 * Newest first, a page at a time: whoever takes them slowly holds up nothing, for no page leaves a transaction behind.
 * @param before only events with a smaller number in the log
 * @param timeoutMs for one page
 * @throws LookTooLong when a page took longer
 */
export async function* listEvents(
  pool: pg.Pool,
  filter: EventFilter,
  limit: number,
  { before = null, timeoutMs = 60_000 }: { readonly before?: string | null; readonly timeoutMs?: number } = {},
): AsyncGenerator<EventRecord> {
  let cursor = before;
  for (let left = limit; left > 0; ) {
    const wanted = Math.min(left, pageEvents);
    const values = [...filterValues(filter), cursor, wanted];
    const { rows } = await within(pool, timeoutMs, (client) => client.query<EventRow>(pageQuery, values));
    yield* rows.map(toEventRecord);
    if (rows.length < wanted) return;
    left -= rows.length;
    cursor = rows.at(-1)?.event_id ?? null;
  }
}

/** By the primary keys of the partitions, from the end: the first page is as fast in a large log as in a small one. */
const pageQuery = `
select ${eventColumns('e')} from observers.events e
where ${matching} and ($7::bigint is null or e.id < $7)
order by e.id desc limit $8`;

/** In a transaction that reads only, and not for longer than this. @throws LookTooLong */
export async function within<T>(
  pool: pg.Pool,
  timeoutMs: number,
  look: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  try {
    return await withTransaction(pool, async (client) => {
      await client.query('set transaction read only');
      await client.query("select set_config('statement_timeout', $1, true)", [`${Math.ceil(timeoutMs)}ms`]);
      return look(client);
    });
  } catch (error) {
    if (sqlState(error) === '57014') throw new LookTooLong('the look was ended', { cause: error });
    throw error;
  }
}

/**
 * What commits from now on, in the order in which the router reads it: what is visible now and was not at the last look, so
 * that a transaction which took its number early and commits late is not missed.
 *
 * @param last how many of those before come first
 */
export class LogFollower {
  readonly #pool: pg.Pool;
  readonly #filter: EventFilter;
  #seen: string | null = null;
  #target: string | null = null;
  #after = '0';

  constructor(pool: pg.Pool, filter: EventFilter) {
    this.#pool = pool;
    this.#filter = filter;
  }

  /** The newest there are, the oldest of them first; from then on `next` has all others. */
  async begin(last: number): Promise<readonly EventRecord[]> {
    const { rows } = await this.#pool.query<EventRow & { snapshot: string }>(newestQuery, [
      ...filterValues(this.#filter),
      last,
    ]);
    this.#seen = rows[0]?.snapshot ?? null;
    return rows.filter(({ event_id: id }) => id !== null).map(toEventRecord);
  }

  /** At most a page; empty: nothing new. */
  async next(): Promise<readonly EventRecord[]> {
    const { rows } = await this.#pool.query<EventRow & { target: string }>(sinceQuery, [
      ...filterValues(this.#filter),
      this.#seen,
      this.#target,
      this.#after,
      pageEvents,
    ]);
    const events = rows.filter(({ event_id: id }) => id !== null);
    const target = rows[0]?.target ?? this.#seen;
    if (events.length === pageEvents) {
      this.#target = target;
      this.#after = events.at(-1)?.event_id ?? '0';
    } else {
      this.#seen = target;
      this.#target = null;
      this.#after = '0';
    }
    return events.map(toEventRecord);
  }
}

/** One statement, so that the snapshot is the one by which it reads. */
const newestQuery = `
select s.snapshot::text as snapshot, n.* from (select pg_current_snapshot() as snapshot) s
left join lateral (
  select ${eventColumns('e')}, e.id from observers.events e where ${matching} order by e.id desc limit $7
) n on true
order by n.id`;

/** $7 seen, $8 target or null for now, $9 after id. As the router finds its delta (routing-sql.ts says why like this). */
const sinceQuery = `
with target as materialized (select coalesce($8::pg_snapshot, pg_current_snapshot()) as snapshot),
delta as materialized (
  select id, xid, created_at from observers.events
  where xid >= pg_snapshot_xmax($7::pg_snapshot) and xid < pg_snapshot_xmax((select snapshot from target))
  union all
  select id, xid, created_at from observers.events
  where xid = any (array(
    select x from pg_snapshot_xip($7::pg_snapshot) x where pg_visible_in_snapshot(x, (select snapshot from target))))
),
fresh as materialized (
  select e.* from delta d join observers.events e on e.id = d.id and e.created_at = d.created_at
  where pg_visible_in_snapshot(d.xid, (select snapshot from target)) and d.id > $9::bigint and ${matching}
  order by d.id limit $10
)
select t.snapshot::text as target, ${eventColumns('e')} from target t left join fresh e on true order by e.id`;
