/**
 * The live queue: claim, settle, release. Every statement works on a batch, and every time is the database's clock.
 *
 * A claim carries a lease, a number of its own. Settling names the lease, so an instance that slept past its
 * heartbeat (SIGSTOP, a suspended machine) can't settle what another one has claimed since.
 */

import type pg from 'pg';
import type { Delivery } from '../../domain/delivery.ts';
import type { EventRecord } from '../../domain/event.ts';
import type { ClaimedBatch, ClaimedDelivery, ClaimWish, DeliveryQueue } from '../contract.ts';
import {
  bytesInMemory,
  bytesOf,
  type EventRow,
  eventBytes,
  eventColumns,
  inlineEventBytes,
  keptEventColumns,
  toEventRecord,
} from './event-row.ts';
import { wakeChannel, wakeFor } from './locks.ts';
import { openNote } from './notes.ts';
import { newLease, settle } from './settlement.ts';

/** Up to this one an event always comes along, however many are claimed: loading each by itself would cost more. */
const alwaysInlineBytes = 4 * 1024;

export interface QueuePools {
  /** Commits wait for the disk. */
  readonly durable: pg.Pool;
  /** `synchronous_commit=off`. */
  readonly claims: pg.Pool;
}

export function createDeliveryQueue({ durable: pool, claims }: QueuePools, instance: string): DeliveryQueue {
  return {
    claim: (wanted, memoryBytes) => claim(claims, instance, wanted, memoryBytes),
    loadEvent: (delivery) => loadEvent(pool, delivery),
    openNote: (delivery, name) => openNote(claims, delivery, name),
    settle: (settlements) => settle(pool, instance, settlements),
    release: (deliveries, delayMs) => release(pool, instance, deliveries, delayMs),
    releaseUnknown: (held) => releaseUnknown(pool, instance, held),
  };
}

type ClaimRow = DeliveryRow & EventRow & { next_due_ms: number | null; large_bytes: number | null };

export interface DeliveryRow {
  delivery_id: string | null;
  lease: string;
  observer: string;
  action: string;
  destination: string;
  delivery_tenant: string | null;
  ordering_key: string | null;
  attempts: number;
  rule_version: string;
  dead_letter_id: string | null;
  age_ms: number;
}

export const deliveryColumns = `
  d.id::text as delivery_id, d.lease::text as lease, d.observer, d.action, d.destination, d.tenant as delivery_tenant,
  d.ordering_key, d.attempts, d.rule_version, d.dead_letter_id::text as dead_letter_id,
  extract(epoch from now() - d.created_at)::float8 * 1000 as age_ms`;

/**
 * $1 destinations, $2 slots of each, $3 instance, $4 bytes.
 *
 * One statement for all destinations. It runs on the claim pool, whose commits don't wait for the disk: a claim that a
 * crash of the server forgets is a delivery that was in flight, and such a one may repeat under the same id anyway. What
 * it refers to is on disk, because the routing commit before it did wait.
 *
 * No subselect over events in a list of columns: PostgreSQL 18 (up to 18.4 at least) crashes when a row turns out to be
 * locked by another claim and the same statement has a subplan over a partitioned table. Joins don't.
 */
const claimQuery = `
with wish as (select * from unnest($1::text[], $2::int[]) as w(destination, slots)),
picked as materialized (
  select p.id from wish w cross join lateral (
    select d.id from observers.deliveries d
    where d.state = 'ready' and d.destination = w.destination and d.due_at <= now()
    order by d.due_at, d.id limit w.slots
    for update skip locked
  ) p
),
d as (
  update observers.deliveries d
  set state = 'claimed', claimed_by = $3::uuid, lease = ${newLease}, first_attempt_at = coalesce(d.first_attempt_at, now())
  -- Not a join: its plan, made once and for any number of slots, reads the whole queue.
  where d.id = any (array(select id from picked))
  returning d.*
),
due as (
  select extract(epoch from min(n.due_at) - now())::float8 * 1000 as next_due_ms
  from wish w cross join lateral (
    select o.due_at from observers.deliveries o
    where o.state = 'ready' and o.destination = w.destination and o.due_at > now()
    order by o.due_at limit 1
  ) n
)
select due.next_due_ms, ${deliveryColumns}, e.*
from due left join d on true
left join lateral (
  select ${eventColumns('e')}, e.large_bytes from (
    select f.id, f.uid, f.source, f.operation, f.table_schema, f.table_name, f.key, f.tenant, f.context, f.created_at,
           ${['old', 'new', 'payload'].map((image) => `case when f.bytes <= $4 then f.${image} end as ${image}`).join(', ')},
           case when f.bytes > $4 then f.bytes end as large_bytes
    from (
      select e.*, ${eventBytes('e')} as bytes from observers.events e
      where d.dead_letter_id is null and e.id = d.event_id and e.created_at = d.event_at
      -- So that the size is computed once.
      offset 0
    ) f
  ) e
  union all
  select ${keptEventColumns('k')}, k.large_bytes from (
    select f.event_id, f.event_uid, case when f.bytes <= $4 then f.event end as event, case when f.bytes > $4 then f.bytes end as large_bytes
    from (
      select k.*, ${bytesOf('k.event')} as bytes from observers.dead_letters k where k.id = d.dead_letter_id
      offset 0
    ) f
  ) k
) e on true
order by d.id`;

async function claim(
  pool: pg.Pool,
  instance: string,
  wanted: readonly ClaimWish[],
  memoryBytes = Number.POSITIVE_INFINITY,
): Promise<ClaimedBatch> {
  const slots = wanted.reduce((sum, wish) => sum + wish.slots, 0);
  const share = Math.floor(Math.max(alwaysInlineBytes, Math.min(inlineEventBytes, memoryBytes / slots)));
  const { rows } = await pool.query<ClaimRow>({
    name: 'claim',
    text: claimQuery,
    values: [wanted.map((wish) => wish.destination), wanted.map((wish) => wish.slots), instance, share],
  });
  return {
    claimed: rows.filter((row) => row.delivery_id !== null).map(toClaimed),
    nextDueMs: rows[0]?.next_due_ms ?? null,
  };
}

function toClaimed(row: ClaimRow): ClaimedDelivery {
  const delivery = toDelivery(row);
  if (row.event_id === null || row.large_bytes !== null)
    return { delivery, event: null, bytes: Math.max(1, row.large_bytes ?? 0) };
  const event = toEventRecord(row);
  return { delivery, event, bytes: bytesInMemory(event) };
}

export function toDelivery(row: DeliveryRow): Delivery {
  return {
    id: row.delivery_id ?? '',
    lease: row.lease,
    observer: row.observer,
    action: row.action,
    destination: row.destination,
    tenant: row.delivery_tenant,
    orderingKey: row.ordering_key,
    attempts: row.attempts,
    deadLetterId: row.dead_letter_id,
    ruleVersion: row.rule_version,
    queuedAt: performance.now() - row.age_ms,
  };
}

async function loadEvent(pool: pg.Pool, delivery: Delivery): Promise<EventRecord | null> {
  const { rows } = await pool.query<EventRow>(
    `select ${eventColumns('e')} from observers.deliveries d join observers.events e on e.id = d.event_id and e.created_at = d.event_at
     where d.id = $1 and d.dead_letter_id is null
     union all
     select ${keptEventColumns('k')} from observers.deliveries d join observers.dead_letters k on k.id = d.dead_letter_id where d.id = $1`,
    [delivery.id],
  );
  return rows[0] === undefined ? null : toEventRecord(rows[0]);
}

const handBack = `set state = 'ready', claimed_by = null, due_at = greatest(d.due_at, now() + make_interval(secs => $2::float8 / 1000))`;

/** By lease: one that was rescued and claimed anew meanwhile is left alone. */
async function release(
  pool: pg.Pool,
  instance: string,
  deliveries: readonly Delivery[],
  delayMs: number,
): Promise<number> {
  const { rowCount } = await pool.query(
    `update observers.deliveries d ${handBack}
     from unnest($3::bigint[], $4::bigint[]) as r(id, lease)
     where d.id = r.id and d.lease = r.lease and d.state = 'claimed' and d.claimed_by = $1`,
    [instance, delayMs, deliveries.map(({ id }) => id), deliveries.map(({ lease }) => lease)],
  );
  return rowCount ?? 0;
}

async function releaseUnknown(pool: pg.Pool, instance: string, held: readonly string[]): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    `with back as (
       update observers.deliveries d ${handBack}
       where d.state = 'claimed' and d.claimed_by = $1 and d.id <> all ($3::bigint[])
       returning d.id
     )
     select count(*)::int as count, case when count(*) > 0 then pg_notify($4, $5) end from back`,
    [instance, 0, held, wakeChannel, wakeFor.deliveries],
  );
  return rows[0]?.count ?? 0;
}
