/** One event and what became of it, for a person who asks: looks that may take a moment, but read no table of millions. */

import type pg from 'pg';
import type { EventRecord, JsonText } from '../../domain/event.ts';
import type { DeadLetterReason } from '../../domain/outcome.ts';
import { type EventRow, eventColumns, keptEventColumns, toEventRecord } from './event-row.ts';

export interface EventHistory {
  readonly event: EventRecord;
  /** Where the event was found; a dead letter keeps a copy for as long as it is there. */
  readonly from: 'log' | 'dead letter';
  /** False: the router has not come to it yet. Null: past retention, so it was. */
  readonly routed: boolean | null;
  readonly deliveries: readonly PendingDelivery[];
  readonly attempts: readonly PastAttempt[];
  readonly dead_letters: readonly EventDeadLetter[];
}

/** On its way. */
export interface PendingDelivery {
  readonly id: string;
  readonly observer: string;
  readonly action: string;
  readonly destination: string;
  readonly state: 'ready' | 'claimed' | 'blocked';
  readonly attempts: number;
  readonly queued_at: string;
  readonly due_at: string;
  readonly last_error: string | null;
  readonly rule_version: string;
  /** The dead letter that it replays. */
  readonly dead_letter: string | null;
  /** The run of `replay` that queued it. */
  readonly replay_run: string | null;
}

export interface PastAttempt {
  readonly observer: string;
  readonly action: string;
  readonly destination: string;
  readonly attempt: number;
  readonly started_at: string;
  readonly duration_ms: number;
  readonly outcome: string;
  readonly status: number | null;
  readonly error_class: string | null;
  readonly error_message: string | null;
  readonly response_excerpt: string | null;
  /** null: of a version of this program that did not keep it. */
  readonly rule_version: string | null;
  /** The run of `replay` that queued its delivery. */
  readonly replay_run: string | null;
  /** Only of a `shadow`: what would have been sent, without secrets. */
  readonly request: JsonText | null;
}

export interface EventDeadLetter {
  readonly id: string;
  readonly observer: string;
  /** null: of its condition. */
  readonly action: string | null;
  readonly destination: string | null;
  readonly reason: DeadLetterReason;
  readonly error_class: string | null;
  readonly error_message: string | null;
  readonly http_status: number | null;
  readonly attempts: number;
  readonly died_at: string;
  readonly rule_version: string;
  readonly replays: number;
  readonly last_replayed_at: string | null;
  /** What was to be sent, without secrets. */
  readonly request: JsonText | null;
}

/** What a person gives: the public uid, or the number in the log. */
export type EventId = { readonly uid: string } | { readonly id: string };

/** @returns null when neither the log nor a dead letter has it */
export async function readEventHistory(pool: pg.Pool, wanted: EventId): Promise<EventHistory | null> {
  const logged = await findInLog(pool, wanted);
  const event = logged?.event ?? (await findInDeadLetters(pool, wanted));
  if (event === null) return null;
  const [deliveries, attempts, letters] = await Promise.all([
    pool.query<PendingDelivery>(deliveriesQuery, [event.id, event.uid]),
    pool.query<PastAttempt>(attemptsQuery, [event.id, event.uid, event.at]),
    pool.query<EventDeadLetter>(deadLettersQuery, [event.uid]),
  ]);
  return {
    event,
    from: logged === null ? 'dead letter' : 'log',
    routed: logged?.routed ?? null,
    deliveries: deliveries.rows,
    attempts: attempts.rows,
    dead_letters: letters.rows,
  };
}

/** Only the event. @returns null when neither the log nor a dead letter has it */
export async function readEvent(pool: pg.Pool, wanted: EventId): Promise<EventRecord | null> {
  return (await findInLog(pool, wanted))?.event ?? findInDeadLetters(pool, wanted);
}

/** Of an event `e` under the checkpoint `c`. */
const routed = `(pg_visible_in_snapshot(e.xid, c.snapshot)
   or coalesce(e.id <= c.after_id and pg_visible_in_snapshot(e.xid, c.target), false)) as routed`;

/**
 * `uid` has no index: its first 48 bits are the milliseconds of the capture, and created_at has one. A second on both sides, for
 * the order in which a statement reads the clock is not ours to say.
 */
const byUid = `
select ${eventColumns('e')}, ${routed}
from (select to_timestamp(('x' || substr(replace($1, '-', ''), 1, 12))::bit(48)::bigint / 1000.0) as at) t
cross join lateral (
  select * from observers.events e
  where e.created_at between t.at - interval '1 second' and t.at + interval '1 second' and e.uid = $1::uuid
) e
join observers.checkpoints c on c.consumer = 'router'
order by e.id limit 1`;

const byId = `
select ${eventColumns('e')}, ${routed}
from observers.events e join observers.checkpoints c on c.consumer = 'router'
where e.id = $1::bigint limit 1`;

async function findInLog(
  pool: pg.Pool,
  wanted: EventId,
): Promise<{ readonly event: EventRecord; readonly routed: boolean } | null> {
  const [query, value] = 'uid' in wanted ? [byUid, wanted.uid] : [byId, wanted.id];
  const { rows } = await pool.query<EventRow & { routed: boolean }>(query, [value]);
  return rows[0] === undefined ? null : { event: toEventRecord(rows[0]), routed: rows[0].routed };
}

async function findInDeadLetters(pool: pg.Pool, wanted: EventId): Promise<EventRecord | null> {
  const [where, value] =
    'uid' in wanted ? ['d.event_uid = $1::uuid', wanted.uid] : ['d.event_id = $1::bigint', wanted.id];
  const { rows } = await pool.query<EventRow>(
    // A delivery whose event was gone leaves a dead letter with nothing but its uid.
    `select ${keptEventColumns('d')} from observers.dead_letters d where ${where} and d.event ? 'source' order by d.id limit 1`,
    [value],
  );
  return rows[0] === undefined ? null : toEventRecord(rows[0]);
}

/** The queue has no index by event (migration 0010 says why): a look through it. */
const deliveriesQuery = `
select d.id::text, d.observer, d.action, d.destination, d.state, d.attempts, d.created_at as queued_at, d.due_at, d.last_error,
       d.rule_version, d.dead_letter_id::text as dead_letter, d.replay_run::text as replay_run
from observers.deliveries d where d.event_id = $1::bigint and d.event_uid = $2::uuid order by d.id`;

/** The time prunes the days before the event. Its clock may have been another host's: an hour's grace. */
const attemptsQuery = `
select a.observer, a.action, a.destination, a.attempt, a.started_at, a.duration_ms, a.outcome, a.status, a.error_class,
       a.error_message, a.response_excerpt, a.rule_version, a.replay_run::text as replay_run, a.request::text as request
from observers.attempts a
where a.event_id = $1::bigint and a.event_uid = $2::uuid and a.started_at >= $3::timestamptz - interval '1 hour'
order by a.started_at, a.id limit 1000`;

const deadLettersQuery = `
select d.id::text, d.observer, d.action, d.destination, d.reason, d.error_class, d.error_message, d.http_status, d.attempts,
       d.died_at, d.rule_version, d.replays, d.last_replayed_at, d.request::text as request
from observers.dead_letters d where d.event_uid = $1::uuid order by d.died_at, d.id limit 1000`;
