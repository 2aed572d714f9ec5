/** The statements of a routing session. */

import { createHash } from 'node:crypto';
import type { Decisions, Handover, NewDelivery, ShadowRecord } from '../contract.ts';
import { digitsArray, textArray } from './array-literal.ts';
import { pageColumns } from './event-page.ts';
import { eventBytes, keptEventColumns } from './event-row.ts';
import { storable, storableJson } from './settlement.ts';

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
       k.ids::text as all_ids, k.times::text as all_times, few.*
from target t cross join keys k cross join lateral (
  select ${pageColumns('e')} from (
    select e.* from page p cross join lateral (
      select * from observers.events e where e.id = p.id and e.created_at = p.created_at and ${eventBytes('e')} < 65536 limit 1
    ) e
    where k.count <= $5::bigint
    order by p.id
  ) e
) few`;

/**
 * $1 ids in order, $2 their times (which prune partitions), $3 byte budget: always at least one event, whatever its size. One row.
 * The limit keeps it a look-up of each by the primary key, however small the log was when this was planned.
 */
export const sliceQuery = `
select ${pageColumns('e')} from (
  select e.* from (
    select e.*, sum(${eventBytes('e')}) over (order by k.n rows unbounded preceding) as bytes, k.n
    from unnest($1::bigint[], $2::timestamptz[]) with ordinality as k(id, at, n)
    cross join lateral (select * from observers.events e where e.id = k.id and e.created_at = k.at limit 1) e
  ) e
  where e.bytes <= $3::float8 or e.n = 1
  order by e.n
) e`;

/**
 * The columns of both kinds of decision as arrays, from parameter `first` on. Ordinality keeps the order of the log.
 * @param replayRun the replay that queues them, as SQL
 */
export const decisionInput = (first: number, replayRun = 'null') => `
  wanted as (
    select * from unnest($${first}::bigint[], $${first + 1}::timestamptz[], $${first + 2}::uuid[], $${first + 3}::text[], $${first + 4}::text[],
                         $${first + 5}::text[], $${first + 6}::text[], $${first + 7}::text[], $${first + 8}::text[], $${first + 9}::bigint[])
      with ordinality as w(event_id, event_at, event_uid, observer, action, destination, tenant, ordering_key, rule_version, lease, n)
    where (select moved from gate)
  ),
  -- The lane's row lock orders this against the settlement of the lane's head.
  lane as (
    insert into observers.lanes as l (destination, ordering_key, pending)
    select destination, ordering_key, count(*) from wanted where ordering_key is not null group by 1, 2 order by 1, 2
    on conflict (destination, ordering_key) do update set pending = l.pending + excluded.pending
    returning destination, ordering_key, pending, held
  ),
  placed as (
    select w.*, w.ordering_key is null
             or (not l.held and l.pending = count(*) over lane_rows and row_number() over (lane_rows order by w.n) = 1) as claimable
    from wanted w left join lane l on l.destination = w.destination and l.ordering_key = w.ordering_key
    window lane_rows as (partition by w.destination, w.ordering_key)
  ),
  queued as (
    insert into observers.deliveries
      (event_id, event_at, event_uid, observer, action, destination, tenant, ordering_key, rule_version, state, lease, claimed_by,
       first_attempt_at, replay_run)
    select p.event_id, p.event_at, p.event_uid, p.observer, p.action, p.destination, p.tenant, p.ordering_key, p.rule_version,
           case when not p.claimable then 'blocked' when p.lease is null then 'ready' else 'claimed' end,
           case when p.claimable and p.lease is not null then p.lease else 0 end,
           case when p.claimable and p.lease is not null then $${first + 10}::uuid end,
           case when p.claimable and p.lease is not null then now() end, ${replayRun}::bigint
    from placed p order by p.n
    returning id, lease, state
  ),
  fault as (
    select * from unnest($${first + 11}::bigint[], $${first + 12}::timestamptz[], $${first + 13}::text[], $${first + 14}::text[], $${first + 15}::text[])
      with ordinality as f(event_id, event_at, observer, message, rule_version, n)
    where (select moved from gate)
  )`;

/** Seven parameters from `first` on. They wait for nobody, and nobody for them. */
const refusedByQuota = (first: number) => `,
  refused as (
    insert into observers.dead_letters
      (event_id, event_uid, event, observer, action, destination, tenant, reason, error_class, error_message, rule_version, ordering_key)
    select e.id, e.uid, observers.event_json(e), q.observer, q.action, q.destination, e.tenant, 'over_quota', 'over_quota',
           'the tenant had as many deliveries waiting as it may (settings.tenants.max_pending)', q.rule_version, q.ordering_key
    from unnest($${first}::bigint[], $${first + 1}::timestamptz[], $${first + 2}::text[], $${first + 3}::text[], $${first + 4}::text[],
                $${first + 5}::text[], $${first + 6}::text[])
      with ordinality as q(event_id, event_at, observer, action, destination, ordering_key, rule_version, n)
    join observers.events e on e.id = q.event_id and e.created_at = q.event_at
    where (select moved from gate)
    order by q.n
  )`;

/** Ten parameters from `first` on: of observers in shadow mode, a line of the history each. */
const shadowing = (first: number) => `,
  shadow as (
    insert into observers.attempts
      (event_id, event_uid, tenant, observer, action, destination, rule_version, request, error_class, error_message,
       attempt, started_at, duration_ms, outcome)
    select s.event_id, s.event_uid, s.tenant, s.observer, s.action, s.destination, s.rule_version, s.request, s.error_class,
           s.error_message, 0, now(), 0, 'shadow'
    from unnest($${first}::bigint[], $${first + 1}::uuid[], $${first + 2}::text[], $${first + 3}::text[], $${first + 4}::text[],
                $${first + 5}::text[], $${first + 6}::text[], $${first + 7}::jsonb[], $${first + 8}::text[], $${first + 9}::text[])
      as s(event_id, event_uid, tenant, observer, action, destination, rule_version, request, error_class, error_message)
    where (select moved from gate)
  )`;

/** The statement for these decisions, and what it takes besides: one of its own for what most commits have none of. */
export function commitStatement({ overQuota = [], shadows = [] }: Decisions) {
  const refused = overQuota.length === 0 ? [] : refusedColumns(overQuota);
  const shadowed = shadows.length === 0 ? [] : shadowColumns(shadows);
  const statement = statements[`${refused.length > 0 ? 'quota' : ''}${shadowed.length > 0 ? 'shadows' : ''}`];
  return { ...statement, values: [...refused, ...shadowed] };
}

function refusedColumns(deliveries: readonly NewDelivery[]): unknown[] {
  return [
    digitsArray(deliveries.map((d) => d.event.id)),
    textArray(deliveries.map((d) => d.event.at)),
    textArray(deliveries.map((d) => d.observer)),
    textArray(deliveries.map((d) => d.action)),
    textArray(deliveries.map((d) => d.destination)),
    textArray(deliveries.map((d) => laneKey(d.orderingKey))),
    textArray(deliveries.map((d) => d.ruleVersion)),
  ];
}

/**
 * $1 version to swap, $2 – $4 the new checkpoint, then the decisions, $21 synchronous_commit. Another version: not a row is
 * written.
 *
 * When the events are on disk, the routing of them need not wait for it: a crash that forgets it finds the events where
 * they were and routes them again, under the same ids. It can only forget deliveries that were in flight, because what
 * settles one does wait, and flushes what was written before it.
 */
const commitQuery = (more: string) => `
with move as (
    update observers.checkpoints
    set snapshot = $2::pg_snapshot, target = $3::pg_snapshot, after_id = $4::bigint, version = version + 1, updated_at = now()
    where consumer = 'router' and version = $1::bigint
    returning 1
  ),
  gate as (select count(*) = 1 as moved from move),
  ${decisionInput(5)},
  died as (
    insert into observers.dead_letters
      (event_id, event_uid, event, observer, tenant, reason, error_class, error_message, rule_version)
    select e.id, e.uid, observers.event_json(e), f.observer, e.tenant, 'engine_fault', 'condition', f.message, f.rule_version
    from fault f join observers.events e on e.id = f.event_id and e.created_at = f.event_at
    order by f.n
  )${more}
select count(*)::text as moved, set_config('synchronous_commit', $21, true),
       (select array_agg(array[id::text, lease::text]) from queued where state = 'claimed') as claimed
from move`;

const statements = {
  '': { name: 'commit', text: commitQuery('') },
  quota: { name: 'commit_over_quota', text: commitQuery(refusedByQuota(22)) },
  shadows: { name: 'commit_shadows', text: commitQuery(shadowing(22)) },
  quotashadows: { name: 'commit_over_quota_shadows', text: commitQuery(refusedByQuota(22) + shadowing(29)) },
} as const;

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

export function decisionColumns({ deliveries, faults }: Decisions, handover: Handover | null = null): unknown[] {
  return [
    digitsArray(deliveries.map((d) => d.event.id)),
    textArray(deliveries.map((d) => d.event.at)),
    textArray(deliveries.map((d) => d.event.uid)),
    textArray(deliveries.map((d) => d.observer)),
    textArray(deliveries.map((d) => d.action)),
    textArray(deliveries.map((d) => d.destination)),
    textArray(deliveries.map((d) => d.event.tenant)),
    textArray(deliveries.map((d) => laneKey(d.orderingKey))),
    textArray(deliveries.map((d) => d.ruleVersion)),
    digitsArray(deliveries.map((d) => handover?.leases.get(d) ?? null)),
    handover?.instance ?? null,
    digitsArray(faults.map((f) => f.event.id)),
    textArray(faults.map((f) => f.event.at)),
    textArray(faults.map((f) => f.observer)),
    textArray(faults.map((f) => withoutNul(f.message))),
    textArray(faults.map((f) => f.ruleVersion)),
  ];
}

function shadowColumns(shadows: readonly ShadowRecord[]): unknown[] {
  return [
    digitsArray(shadows.map((s) => s.event.id)),
    textArray(shadows.map((s) => s.event.uid)),
    textArray(shadows.map((s) => s.event.tenant)),
    textArray(shadows.map((s) => s.observer)),
    textArray(shadows.map((s) => s.action)),
    textArray(shadows.map((s) => s.destination)),
    textArray(shadows.map((s) => s.ruleVersion)),
    textArray(shadows.map((s) => (s.request === undefined ? null : storableJson(JSON.stringify(s.request))))),
    textArray(shadows.map((s) => s.errorClass)),
    textArray(shadows.map((s) => storable(s.errorMessage))),
  ];
}

/** An index entry holds 2,700 bytes at most: a longer key is told from others by its digest, as every key must be stored. */
const longestKeyBytes = 512;

export function laneKey(key: string | null): string | null {
  if (key === null || Buffer.byteLength(key) <= longestKeyBytes) return withoutNul(key);
  return `sha256:${createHash('sha256').update(key).digest('hex')}`;
}

/** PostgreSQL text holds no U+0000. One decision that can't be stored would hold up the log for good. */
function withoutNul(text: string | null): string | null {
  return text === null ? null : text.replaceAll('\u0000', '\ufffd');
}
