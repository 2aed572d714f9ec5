/** Words in the log and in what receivers answered. */

import type pg from 'pg';
import type { EventFilter, EventRecord } from '../../domain/event.ts';
import { filterValues, matching, within } from './event-log.ts';
import { type EventRow, eventColumns, toEventRecord } from './event-row.ts';

export interface Found {
  readonly event: EventRecord;
  /** null: in the event itself; otherwise the answer, or the error, of an attempt. */
  readonly attempt: FoundAttempt | null;
}

export interface FoundAttempt {
  readonly observer: string;
  readonly action: string;
  readonly destination: string;
  readonly started_at: string;
  readonly outcome: string;
  readonly error_message: string | null;
  readonly response_excerpt: string | null;
}

export interface Search extends EventFilter {
  /** As a person writes it: `acme refund`, `"in this order"`, `or`, `-without`. Any text is a search. */
  readonly words: string;
  readonly since: string;
  readonly limit: number;
  /** For all of it. */
  readonly timeoutMs: number;
}

/** @returns null when there is no word in it */
export async function wordsOf(pool: pg.Pool, words: string): Promise<string | null> {
  const { rows } = await pool.query<{ words: string | null }>(
    "select case when numnode(q) > 0 then q::text end as words from websearch_to_tsquery('simple', $1) q",
    [words],
  );
  return rows[0]?.words ?? null;
}

/**
 * Newest first. An event of which an attempt fits, too, is there once.
 * @throws LookTooLong
 */
export async function searchEvents(pool: pg.Pool, search: Search): Promise<readonly Found[]> {
  const { words, limit, timeoutMs } = search;
  const values = [...filterValues(search), words, limit];
  const { rows } = await within(pool, timeoutMs, (client) => client.query<FoundRow>(searchQuery, values));
  return rows.map((row) => ({ event: toEventRecord(row), attempt: row.attempt }));
}

type FoundRow = EventRow & { attempt: FoundAttempt | null };

/** The expressions of the indexes that `events index create` makes. */
export const eventWords = (e: string): string => `observers.event_words(${e}old, ${e}new, ${e}payload, ${e}key)`;
export const attemptWords = (a: string): string => `observers.attempt_words(${a}error_message, ${a}response_excerpt)`;

const query = "websearch_to_tsquery('simple', $7)";

/**
 * Each half in the order of its own table, so that it ends early when there is much to find. $1 – $6 the filter, $7 words, $8
 * limit. Attempts are of events that may be older: they have to lie in the log, not in the time.
 */
const searchQuery = `
with in_events as materialized (
  select e.id, e.created_at from observers.events e
  where ${matching} and ${eventWords('e.')} @@ ${query}
  order by e.id desc limit $8
),
in_attempts as materialized (
  select distinct on (a.event_id) a.event_id, a.event_uid, to_jsonb(x) as attempt
  from (
    select a.* from observers.attempts a
    where a.started_at >= $5::timestamptz and ($6::timestamptz is null or a.started_at < $6)
      and ${attemptWords('a.')} @@ ${query}
    order by a.started_at desc limit $8 * 10
  ) a
  cross join lateral (
    select a.observer, a.action, a.destination, a.started_at, a.outcome, a.error_message, a.response_excerpt
  ) x
  where a.event_id not in (select id from in_events)
  order by a.event_id, a.started_at desc
)
select f.attempt, ${eventColumns('e')} from (
  select id, created_at, null::jsonb as attempt from in_events
  union all
  select e.id, e.created_at, a.attempt from in_attempts a
  cross join lateral (
    select e.id, e.created_at from observers.events e
    where e.id = a.event_id and e.uid = a.event_uid
      and ($1::text is null or e.source = $1) and ($2::text is null or e.operation = $2) and ($3::text is null or e.key = $3)
      and ($4::text is null or e.tenant = $4)
    limit 1
  ) e
) f join observers.events e on e.id = f.id and e.created_at = f.created_at
order by e.id desc limit $8`;
