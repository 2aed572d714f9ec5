import type pg from 'pg';
import type { JsonText } from '../../domain/event.ts';
import type { DeadLetterReason } from '../../domain/outcome.ts';
import { withTransaction } from './connection.ts';
import { sqlState } from './failures.ts';

/** Conditions are and-ed; a missing one excludes nothing. */
export interface DeadLetterFilter {
  readonly observer?: string | undefined;
  readonly destination?: string | undefined;
  readonly tenant?: string | undefined;
  /** Error class, reason, or a part of the message. */
  readonly error?: string | undefined;
  /** Died within the last so many milliseconds. */
  readonly sinceMs?: number | undefined;
  readonly limit?: number | undefined;
}

export interface DeadLetter {
  readonly id: string;
  readonly event_uid: string;
  readonly source: string;
  readonly operation: string;
  readonly key: string | null;
  readonly observer: string;
  readonly action: string | null;
  readonly destination: string | null;
  readonly tenant: string | null;
  readonly reason: DeadLetterReason;
  readonly error_class: string | null;
  readonly error_message: string | null;
  readonly http_status: number | null;
  readonly response_excerpt: string | null;
  readonly attempts: number;
  readonly first_attempt_at: string | null;
  readonly died_at: string;
  readonly rule_version: string;
  readonly replays: number;
  readonly last_replayed_at: string | null;
  /** True while a replay of it is on its way. */
  readonly replaying: boolean;
  /** The value of `order_by`; null outside of an ordered lane. */
  readonly ordering_key: string | null;
  /** Its lane waits until it is replayed with success or discarded. */
  readonly holds_lane: boolean;
}

export interface DeadLetterDetail extends DeadLetter {
  /** Deliveries that wait in the lane it holds; null when it holds none. */
  readonly waiting: number | null;
  /** JSON text, numbers digit for digit. */
  readonly event: JsonText;
  readonly request: JsonText | null;
}

/** `d` is on its way again, as a delivery or as a condition to be evaluated. */
const replaying = `(exists (select from observers.deliveries q where q.dead_letter_id = d.id)
    or exists (select from observers.replays r where r.dead_letter_id = d.id))`;

const listed = `
  d.id::text, d.event_uid::text, d.event ->> 'source' as source, d.event ->> 'operation' as operation, d.event ->> 'key' as key,
  d.observer, d.action, d.destination, d.tenant, d.reason, d.error_class, d.error_message, d.http_status, d.response_excerpt,
  d.attempts, d.first_attempt_at, d.died_at, d.rule_version, d.replays, d.last_replayed_at,
  ${replaying} as replaying, d.ordering_key, d.holds_lane`;

const matching = `
  ($1::text is null or d.observer = $1) and ($2::text is null or d.destination = $2) and ($3::text is null or d.tenant = $3)
  and ($4::text is null or d.error_class = $4 or d.reason = $4 or position(lower($4) in lower(d.error_message)) > 0)
  and ($5::float8 is null or d.died_at >= now() - make_interval(secs => $5 / 1000))`;

const filterValues = (filter: DeadLetterFilter) => [
  filter.observer ?? null,
  filter.destination ?? null,
  filter.tenant ?? null,
  filter.error ?? null,
  filter.sinceMs ?? null,
];

/** Newest first. */
export async function listDeadLetters(pool: pg.Pool, filter: DeadLetterFilter): Promise<readonly DeadLetter[]> {
  const { rows } = await pool.query<DeadLetter>(
    `select ${listed} from observers.dead_letters d where ${matching} order by d.id desc limit $6`,
    [...filterValues(filter), filter.limit ?? null],
  );
  return rows;
}

export async function showDeadLetter(pool: pg.Pool, id: string): Promise<DeadLetterDetail | null> {
  const { rows } = await pool.query<DeadLetterDetail>(
    `select ${listed}, d.event::text as event, d.request::text as request, l.pending::int as waiting
     from observers.dead_letters d
     left join observers.lanes l on d.holds_lane and l.held and l.destination = d.destination and l.ordering_key = d.ordering_key
     where d.id = $1::bigint`,
    [id],
  );
  return rows[0] ?? null;
}

/** What observers.replay raises. */
const noDataFound = 'P0002';

/** Queues one for another try. @returns false when a replay of it is already on its way, null when there is none */
export async function retryDeadLetter(pool: pg.Pool, id: string): Promise<boolean | null> {
  try {
    const { rows } = await pool.query<{ queued: boolean }>('select observers.replay($1::bigint) as queued', [id]);
    return rows[0]?.queued ?? null;
  } catch (error) {
    if (sqlState(error) === noDataFound) return null;
    throw error;
  }
}

/**
 * The oldest behind `after`, at most `limit` of them. Whoever goes on from `last` tries each once: one that fails again at once
 * would otherwise be the oldest again, and the others never have their turn.
 * @returns last: null when there are none left
 */
export async function retryDeadLetters(
  pool: pg.Pool,
  filter: DeadLetterFilter,
  limit: number,
  after = '0',
): Promise<{ readonly queued: number; readonly last: string | null }> {
  const { rows } = await pool.query<{ queued: number; last: string | null }>(
    `select count(*) filter (where queued)::int as queued, max(id)::text as last from (
       select d.id, observers.replay(d.id) as queued from (
         select d.id from observers.dead_letters d
         where ${matching} and not ${replaying} and d.id > $7::bigint
         order by d.id limit $6
         -- Locked, none of them can be gone when its turn comes; what somebody else has locked is on its way already.
         for update of d skip locked
       ) d
     ) r`,
    [...filterValues(filter), limit, after],
  );
  return rows[0] ?? { queued: 0, last: null };
}

export async function countDeadLetters(pool: pg.Pool, filter: DeadLetterFilter): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    `select count(*)::int as count from observers.dead_letters d where ${matching}`,
    filterValues(filter),
  );
  return rows[0]?.count ?? 0;
}

/** Removes it for good. One whose replay is on its way stays: its outcome would have nowhere to go. */
export async function discardDeadLetter(pool: pg.Pool, id: string): Promise<'discarded' | 'replaying' | 'absent'> {
  return withTransaction(pool, async (client) => {
    // Locked in a statement of its own: the next one then sees the delivery of a replay that held the row meanwhile.
    const { rowCount } = await client.query('select from observers.dead_letters where id = $1::bigint for update', [
      id,
    ]);
    if (rowCount === 0) return 'absent';
    const { rowCount: discarded } = await client.query(
      `delete from observers.dead_letters d where d.id = $1::bigint and not ${replaying}`,
      [id],
    );
    return discarded === 1 ? 'discarded' : 'replaying';
  });
}

export interface DeadLetterGroup {
  /** What the group has in common, in words. */
  readonly cause: string;
  readonly dead_letters: string;
  readonly oldest: string;
  readonly newest: string;
  readonly replays: string;
}

/** What dead letters can be grouped by. */
export type DeadLetterCause = 'observer' | 'destination' | 'error' | 'reason';

const error = "concat_ws(' ', reason, nullif(error_class, reason))";
const causes = {
  observer: 'observer',
  reason: 'reason',
  destination: "coalesce(destination, '–')",
  error,
  all: `concat_ws(': ', concat_ws(' → ', concat_ws('/', observer, action), destination), ${error})`,
};

/** Grouped by cause, the largest group first. */
export async function deadLetterGroups(
  pool: pg.Pool,
  by: DeadLetterCause | 'all' = 'all',
): Promise<readonly DeadLetterGroup[]> {
  const { rows } = await pool.query<DeadLetterGroup>(
    `select ${causes[by]} as cause, sum(dead_letters)::text as dead_letters, min(oldest) as oldest, max(newest) as newest,
            sum(replays)::text as replays
     from observers.dead_letter_summary group by 1 order by sum(dead_letters) desc, 1`,
  );
  return rows;
}
