import type pg from 'pg';
import type { BreakerReport } from '../contract.ts';
import { type HeldDestination, readHeldDestinations } from './destination-holds.ts';
import { readUnfinishedWork, type UnfinishedWork } from './unfinished-work.ts';

/** What `status --json` and /api/v1/status print: names as in the tables. */
export interface DatabaseStatus {
  readonly instances: readonly InstanceStatus[];
  readonly checkpoint: CheckpointStatus;
  readonly queue: readonly QueueStatus[];
  /** Lanes that wait for a dead letter to be replayed or discarded, the longest first; at most 20 of them. */
  readonly held_lanes: readonly HeldLane[];
  /** Destinations that are sent nothing. */
  readonly held_destinations: readonly HeldDestination[];
  readonly dead_letters: number;
  /** What somebody must do something about (`capture: …`, `retention: …`), as instances found it within the last minute. */
  readonly complaints: readonly string[];
  /** Of the last 24 hours, by observer. */
  readonly shadows: readonly ShadowStatus[];
  /** Replays and backfills that run, or wait to be resumed; 20 at most. */
  readonly unfinished: readonly UnfinishedWork[];
}

/** An observer in shadow mode. */
export interface ShadowStatus {
  readonly observer: string;
  /** What it would have sent; capped at 100,000 of all observers together. */
  readonly records: number;
  /** Of these, what could not be evaluated or rendered. */
  readonly faults: number;
  readonly newest: string;
}

export interface CheckpointStatus {
  readonly at: string;
  /** Milliseconds since `at`. */
  readonly age_ms: number;
  /** Captured and not routed yet; capped at 100,001. */
  readonly lag_events: number;
  /** Milliseconds; null when there is none. */
  readonly lag_ms: number | null;
  /** Ids of events handed out so far, also to transactions that rolled back; null when this role may not know. */
  readonly captured: number | null;
}

export interface InstanceStatus {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  readonly version: string;
  readonly rules_version: string;
  readonly started_at: string;
  readonly heartbeat_at: string;
  /** Milliseconds since its last heartbeat. */
  readonly silent_ms: number;
  readonly routing: boolean;
  /** The channels whose notifications it records. */
  readonly records: readonly string[];
  /** Deliveries. */
  readonly claimed: number;
  /** When it last did what one instance does once a minute; null: not yet. */
  readonly housekept_at: string | null;
  /** Circuit breakers that are not closed, 100 at most. */
  readonly breakers: readonly BreakerReport[];
}

export interface QueueStatus {
  readonly destination: string;
  /** The numbers come from a sample: the queue has more than 100,000 deliveries. */
  readonly estimated: boolean;
  readonly ready: number;
  readonly claimed: number;
  readonly retrying: number;
  readonly blocked: number;
  /** Milliseconds. */
  readonly oldest_ms: number;
  readonly last_error: string | null;
}

export interface HeldLane {
  readonly destination: string;
  readonly ordering_key: string;
  /** Deliveries that wait in it. */
  readonly pending: number;
  readonly dead_letter: string;
  readonly observer: string;
  readonly died_at: string;
}

export interface RoutingLag {
  readonly at: string;
  readonly ageMs: number;
  /** Events captured and not routed yet; capped at 100,001. */
  readonly lagEvents: number;
  /** Age of the oldest of them; null when there is none. Milliseconds. */
  readonly lagMs: number | null;
}

/** Cheap enough for a probe every second, whatever is queued. */
export async function readRoutingLag(pool: pg.Pool): Promise<RoutingLag> {
  const { rows } = await pool.query<{ at: string; age_ms: number; lag_events: number; lag_ms: number | null }>(
    lagQuery,
  );
  const [row] = rows;
  return { at: row?.at ?? '', ageMs: row?.age_ms ?? 0, lagEvents: row?.lag_events ?? 0, lagMs: row?.lag_ms ?? null };
}

export async function readDatabaseStatus(pool: pg.Pool): Promise<DatabaseStatus> {
  const [instances, checkpoint, captured, queue, held, destinations, dead, shadows, complaints, unfinished] =
    await Promise.all([
      pool.query<InstanceStatus>('select *, id::text as id from observers.instance_status order by started_at'),
      readRoutingLag(pool),
      pool.query<{ last: string | null }>(
        "select last_value::text as last from pg_sequences where schemaname = 'observers' and sequencename = 'events_id_seq'",
      ),
      readQueue(pool),
      pool.query<HeldLane>(
        `select l.destination, l.ordering_key, l.pending::int, d.id::text as dead_letter, d.observer, d.died_at
       from observers.lanes l
       join observers.dead_letters d on d.holds_lane and d.destination = l.destination and d.ordering_key = l.ordering_key
       where l.held order by l.pending desc, d.id limit 20`,
      ),
      readHeldDestinations(pool),
      pool.query<{ count: number }>('select count(*)::int as count from observers.dead_letters'),
      pool.query<ShadowStatus>(shadowsQuery),
      pool.query<{ complaint: string }>(
        'select distinct unnest(complaints) as complaint from observers.instances order by 1',
      ),
      readUnfinishedWork(pool),
    ]);
  return {
    instances: instances.rows,
    checkpoint: {
      at: checkpoint.at,
      age_ms: checkpoint.ageMs,
      lag_events: checkpoint.lagEvents,
      lag_ms: checkpoint.lagMs,
      captured: captured.rows[0]?.last == null ? null : Number(captured.rows[0].last),
    },
    queue,
    held_lanes: held.rows,
    held_destinations: destinations,
    dead_letters: dead.rows[0]?.count ?? 0,
    shadows: shadows.rows,
    unfinished,
    complaints: complaints.rows.map(({ complaint }) => complaint),
  };
}

export async function readQueue(pool: pg.Pool): Promise<readonly QueueStatus[]> {
  return (await pool.query<QueueStatus>(queueQuery)).rows;
}
/** What is ready has two indexes: with a tenant, and without. */
const firstReady = (further = '') =>
  ['is null', 'is not null']
    .map(
      (condition) =>
        `(select d.destination from observers.deliveries d where d.state = 'ready' and d.tenant ${condition} ${further} order by d.destination limit 1)`,
    )
    .join(' union all ');

/**
 * Exact up to 100,000 deliveries in all; beyond that from a sample of about that many, as in observers.status. A sample
 * misses destinations of which little waits: those come from the index of what is ready, one look each.
 */
const queueQuery = `
with recursive size as materialized (
  select greatest(1, reltuples / 100000)::float8 as scale from pg_class where oid = 'observers.deliveries'::regclass
),
sampled as materialized (
  select destination, count(*) filter (where state = 'ready' and attempts = 0) as ready,
         count(*) filter (where state = 'claimed') as claimed, count(*) filter (where state = 'ready' and attempts > 0) as retrying,
         count(*) filter (where state = 'blocked') as blocked, min(created_at) as oldest,
         (array_agg(last_error order by attempts desc) filter (where last_error is not null))[1] as last_error
  from observers.deliveries tablesample system ((select 100 / scale from size)) group by 1
),
named (destination) as (
  select min(destination) from (${firstReady()}) first
  union all
  select next.destination from named n cross join lateral (
    select min(destination) as destination from (${firstReady('and d.destination > n.destination')}) first
  ) next
  where n.destination is not null
),
missed as (
  select n.destination, few.* from named n cross join lateral (
    select count(*) filter (where attempts = 0) as ready, 0::bigint as claimed, count(*) filter (where attempts > 0) as retrying,
           0::bigint as blocked, min(created_at) as oldest, max(last_error) as last_error
    from (
      (select * from observers.deliveries d where d.state = 'ready' and d.tenant is null and d.destination = n.destination limit 10000)
      union all
      (select * from observers.deliveries d where d.state = 'ready' and d.tenant is not null and d.destination = n.destination limit 10000)
    ) d
  ) few
  where n.destination is not null and not exists (select from sampled s where s.destination = n.destination)
),
counted as (
  select destination, round(ready * scale) as ready, round(claimed * scale) as claimed, round(retrying * scale) as retrying,
         round(blocked * scale) as blocked, oldest, last_error, scale > 1 as estimated
  from sampled, size
  union all
  select destination, ready, claimed, retrying, blocked, oldest, last_error, false from missed
)
select destination, ready, claimed, retrying, blocked, extract(epoch from now() - oldest)::float8 * 1000 as oldest_ms,
       last_error, estimated
from counted order by ready + claimed + retrying + blocked desc, 1`;

/** The reader's delta (see routing-session.ts), counted. */
const lagQuery = `
with c as (select snapshot, target, after_id, updated_at from observers.checkpoints where consumer = 'router'),
unrouted as (
  select e.id, e.created_at from c, observers.events e
  where (e.xid >= pg_snapshot_xmax(c.snapshot)
         or e.xid = any (array(select x from c, pg_snapshot_xip(c.snapshot) x)))
    and not (c.target is not null and e.id <= c.after_id and pg_visible_in_snapshot(e.xid, c.target))
  limit 100001
)
select (select updated_at from c) as at, (select extract(epoch from now() - updated_at)::float8 * 1000 from c) as age_ms,
       count(*)::int as lag_events,
       extract(epoch from now() - min(created_at))::float8 * 1000 as lag_ms
from unrouted`;

/** By the index of shadows alone. */
const shadowsQuery = `
select observer, count(*)::int as records, count(error_class)::int as faults, max(started_at) as newest
from (select observer, started_at, error_class from observers.attempts
      where outcome = 'shadow' and started_at > now() - interval '1 day' limit 100000) s
group by 1 order by 1`;
