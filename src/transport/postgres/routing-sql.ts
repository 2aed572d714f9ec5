/** The statements of a routing session. */

import type { Decisions } from '../contract.ts';
import {
  decisionInput,
  failing,
  faultColumns,
  queueing,
  queueingParameters,
  refusedByQuota,
  refusedColumns,
  shadowColumns,
  shadowing,
} from './decision-sql.ts';
import { pageColumns } from './event-page.ts';
import { eventBytes, keptEventColumns } from './event-row.ts';

/**
 * Whether everything in the log that this statement sees would survive a crash: a writer with synchronous_commit=off is
 * seen before its commit is flushed. With synchronous standbys nobody can tell from here, so no.
 */
const onDisk =
  "(current_setting('synchronous_standby_names') = '' and pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn())";

/**
 * $1 checkpointed snapshot, $2 target or null for now, $3 after id, $4 most ids, $5 most events that come along.
 * One row: all ids, in order, and their times; of a small delta its events as a page, save those of more than 64 KiB. An empty
 * delta says which target it is empty up to.
 *
 * UNION ALL over the index on xid, materialized: an `or`, or a planner that sees the limit, walks the primary key. From
 * the transactions that were running at the checkpoint only those that have ended since are looked up, else a million
 * rows of an open one are read every time. The ids of a long delta are one array: as a row each they cost several times
 * as much to sort and to send. Events are looked up one by one: a plain join may be planned as a merge that walks the log.
 */
export const deltaQuery = `
with target as materialized (select coalesce($2::pg_snapshot, pg_current_snapshot()) as snapshot),
delta as materialized (
  select id, xid, created_at from observers.events
  where xid >= pg_snapshot_xmax($1::pg_snapshot) and xid < pg_snapshot_xmax((select snapshot from target))
  union all
  select id, xid, created_at from observers.events
  where xid = any (array(
    select x from pg_snapshot_xip($1::pg_snapshot) x where pg_visible_in_snapshot(x, (select snapshot from target))))
),
page as materialized (
  select id, created_at from delta
  where pg_visible_in_snapshot(xid, (select snapshot from target)) and id > $3::bigint
  order by id limit $4
),
keys as materialized (
  select count(*) as count, array_agg(id order by id) as ids, array_agg(created_at order by id) as times from page
)
select t.snapshot::text as target, ${onDisk} as on_disk,
       -- Only of a quiet log: a commit asks for it anyway, and under an old snapshot the row has many versions to walk.
       case when k.count = 0 then (select version::text from observers.checkpoints where consumer = 'router') end as version,
       -- So that an idle router needs no statement of its own for it.
       k.count = 0 and exists (select from observers.replays) as replays,
       k.ids::text as all_ids, k.times::text as all_times, few.*
from target t cross join keys k cross join lateral (
  select ${pageColumns('e')} from (
    select e.* from page p cross join lateral (
      select * from observers.events e where e.id = p.id and e.created_at = p.created_at limit 1
    ) e
    where k.count <= $5::bigint and ${eventBytes('e')} < 65536
    order by p.id
  ) e
) few`;

/**
 * $1 ids in order, $2 their times (the least and the last prune partitions), $3 byte budget: always at least one event, whatever its
 * size. One row. A join with the ids might be planned as a merge that walks the log; looking up each by itself took a third longer.
 */
export const sliceQuery = `
select ${pageColumns('e')} from (
  select e.* from (
    select e.*, sum(${eventBytes('e')}) over (order by e.id rows unbounded preceding) as bytes, row_number() over (order by e.id) as n
    from observers.events e
    where e.id = any ($1::bigint[])
      and e.created_at >= (select min(at) from unnest($2::timestamptz[]) at) and e.created_at <= (select max(at) from unnest($2::timestamptz[]) at)
  ) e
  where e.bytes <= $3::float8 or e.n = 1
  order by e.id
) e`;

/**
 * Five parameters from `first` on. One that can't be evaluated leaves a dead letter, and holds nobody up.
 */
const diedOfFaults = (first: number) => `${failing(first)},
  died as (
    insert into observers.dead_letters
      (event_id, event_uid, event, observer, tenant, reason, error_class, error_message, rule_version)
    select e.id, e.uid, observers.event_json(e), f.observer, e.tenant, 'engine_fault', 'condition', f.message, f.rule_version
    from fault f join observers.events e on e.id = f.event_id and e.created_at = f.event_at
    order by f.n
  )`;

interface Part {
  readonly name: string;
  /** SQL of it, by its first parameter. */
  readonly text: (first: number) => string;
  readonly values: readonly unknown[];
}

/**
 * $1 version to swap, $2 – $4 the new checkpoint, then the deliveries, $16 synchronous_commit. Another version: not a row is
 * written.
 *
 * When the events are on disk, the routing of them need not wait for it: a crash that forgets it finds the events where
 * they were and routes them again, under the same ids. It can only forget deliveries that were in flight, because what
 * settles one does wait, and flushes what was written before it.
 */
function commitQuery(lanes: boolean, parts: readonly Part[]): string {
  let next = firstDecision + queueingParameters + 1;
  const more = parts.map(({ text, values }) => {
    const first = next;
    next += values.length;
    return text(first);
  });
  return `
with move as (
    update observers.checkpoints
    set snapshot = $2::pg_snapshot, target = $3::pg_snapshot, after_id = $4::bigint, version = version + 1, updated_at = now()
    where consumer = 'router' and version = $1::bigint
    returning 1
  ),
  gate as (select count(*) = 1 as moved from move),
  ${queueing(firstDecision, { lanes })}${more.join('')}
select count(*)::text as moved, set_config('synchronous_commit', $${firstDecision + queueingParameters}, true),
       (select array_agg(array[id::text, lease::text]) from queued where state = 'claimed') as claimed
from move`;
}

const firstDecision = 5;
const texts = new Map<string, string>();

/**
 * The statement for these decisions, and what it takes besides checkpoint, deliveries and synchronous_commit. What most commits have
 * none of is left out of it: the server takes as long to begin with lanes and faults as with all the rest.
 */
export function commitStatement(decisions: Decisions) {
  const { deliveries, faults, overQuota = [], shadows = [] } = decisions;
  const lanes = deliveries.some(({ orderingKey }) => orderingKey !== null);
  const parts: readonly Part[] = [
    ...(faults.length > 0 ? [{ name: 'faults', text: diedOfFaults, values: faultColumns(decisions) }] : []),
    ...(overQuota.length > 0 ? [{ name: 'quota', text: refusedByQuota, values: refusedColumns(overQuota) }] : []),
    ...(shadows.length > 0 ? [{ name: 'shadows', text: shadowing, values: shadowColumns(shadows) }] : []),
  ];
  const name = ['commit', ...(lanes ? ['lanes'] : []), ...parts.map((part) => part.name)].join('_');
  const text = texts.get(name) ?? commitQuery(lanes, parts);
  texts.set(name, text);
  return { name, text, values: parts.flatMap(({ values }) => values) };
}

export const replaysQuery = `
select r.dead_letter_id::text, d.observer, d.rule_version, ${keptEventColumns('d')}
from observers.replays r join observers.dead_letters d on d.id = r.dead_letter_id order by r.id limit 100`;

const column = (name: string) => `nullif(d.event -> '${name}', 'null')`;

/**
 * $1 dead letter, then the decisions. Resolved (fired or not): the dead letter goes. Faulty again: it stays with what is
 * wrong now.
 *
 * Its event may be past retention; what fires now needs it again. It comes back from the dead letter under an xid that
 * every snapshot counts as past, so that nobody routes it a second time.
 */
export const replayQuery = `
with request as (delete from observers.replays where dead_letter_id = $1::bigint returning dead_letter_id),
  gate as (select count(*) = 1 as moved from request),
  ${decisionInput(2)},
  restored as (
    insert into observers.events
      (id, uid, xid, source, operation, table_schema, table_name, key, tenant, old, new, payload, context, created_at)
    select d.event_id, d.event_uid, '3', d.event ->> 'source', d.event ->> 'operation', d.event ->> 'schema', d.event ->> 'table',
           d.event ->> 'key', d.event ->> 'tenant', ${column('old')}, ${column('new')},
           case when d.event ->> 'operation' in ('notify', 'emit') then d.event -> 'payload' end, ${column('context')}, w.event_at
    from request r join observers.dead_letters d on d.id = r.dead_letter_id
    cross join lateral (select event_at from wanted limit 1) w
    where not exists (select from observers.events e where e.id = d.event_id and e.created_at = w.event_at)
  ),
  resolved as (
    delete from observers.dead_letters d using request r
    where d.id = r.dead_letter_id and not exists (select from fault)
  )
update observers.dead_letters d set error_message = f.message, rule_version = f.rule_version, died_at = now()
from fault f where d.id = (select dead_letter_id from request)`;
