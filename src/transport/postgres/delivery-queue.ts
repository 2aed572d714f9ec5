/**
 * The live queue: claim, settle, release. Every statement works on a batch, and every time is the database's clock.
 *
 * A claim carries a lease, a number of its own. Settling names the lease, so an instance that slept past its
 * heartbeat (SIGSTOP, a suspended machine) can't settle what another one has claimed since.
 */

import type pg from 'pg';
import type { Delivery } from '../../domain/delivery.ts';
import type { EventRecord } from '../../domain/event.ts';
import type { ClaimedBatch, ClaimWish, DeliveryQueue, Settlement } from '../contract.ts';
import { withTransaction } from './connection.ts';
import { type EventRow, eventColumns, keptEventColumns, toEventRecord } from './event-row.ts';
import { wakeChannel, wakeFor } from './locks.ts';

/** Size up to which an event comes along with its claim; a larger one is loaded when its turn comes. */
const inlineEventBytes = 256 * 1024;

/** What a stored value takes in memory, about: one that is compressed may be a hundred times what it takes on disk. */
const size = (column: string) =>
  `coalesce(pg_column_size(${column}), 0) * case when pg_column_compression(${column}) is null then 1 else 20 end`;

export interface QueuePools {
  /** Commits wait for the disk. */
  readonly durable: pg.Pool;
  /** `synchronous_commit=off`. */
  readonly claims: pg.Pool;
}

export function createDeliveryQueue({ durable: pool, claims }: QueuePools, instance: string): DeliveryQueue {
  return {
    claim: (wanted) => claim(claims, instance, wanted),
    loadEvent: (delivery) => loadEvent(pool, delivery),
    settle: (settlements) => settle(pool, instance, settlements),
    release: (deliveries, delayMs) => release(pool, instance, deliveries, delayMs),
    releaseUnknown: (held) => releaseUnknown(pool, instance, held),
  };
}

type ClaimRow = DeliveryRow & EventRow & { next_due_ms: number | null };

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
}

export const deliveryColumns = `
  d.id::text as delivery_id, d.lease::text as lease, d.observer, d.action, d.destination, d.tenant as delivery_tenant,
  d.ordering_key, d.attempts, d.rule_version, d.dead_letter_id::text as dead_letter_id`;

/**
 * Random, not one more than the last: after a crash of the server forgot a claim, counting would give the next claim the
 * same number, and both could settle.
 */
export const newLease = '(random() * 9e18)::bigint';

/**
 * $1 destinations, $2 slots of each, $3 instance, $4 bytes.
 *
 * One statement for all destinations. It runs on the claim pool, whose commits don't wait for the disk: a claim that a
 * crash of the server forgets is a delivery that was in flight, and such a one may repeat under the same id anyway. What
 * it refers to is on disk, because the routing commit before it did wait.
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
  select ${eventColumns('e')} from observers.events e
  where d.dead_letter_id is null and e.id = d.event_id and e.created_at = d.event_at
    and ${size('e.old')} + ${size('e.new')} + ${size('e.payload')} <= $4
  union all
  select ${keptEventColumns('k')} from observers.dead_letters k
  where k.id = d.dead_letter_id and ${size('k.event')} <= $4
) e on true
order by d.id`;

async function claim(pool: pg.Pool, instance: string, wanted: readonly ClaimWish[]): Promise<ClaimedBatch> {
  const { rows } = await pool.query<ClaimRow>({
    name: 'claim',
    text: claimQuery,
    values: [wanted.map((wish) => wish.destination), wanted.map((wish) => wish.slots), instance, inlineEventBytes],
  });
  const claimed = rows
    .filter((row) => row.delivery_id !== null)
    .map((row) => ({ delivery: toDelivery(row), event: row.event_id === null ? null : toEventRecord(row) }));
  return { claimed, nextDueMs: rows[0]?.next_due_ms ?? null };
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

export async function settle(
  pool: pg.Pool,
  instance: string,
  settlements: readonly Settlement[],
): Promise<ReadonlySet<string>> {
  const values = settlementColumns(instance, settlements);
  const inLanes = settlements.filter((s) => s.delivery.orderingKey !== null && s.kind !== 'retry');
  if (inLanes.length === 0)
    return settled(await pool.query<{ id: string }>({ name: 'settle', text: settleQuery(false), values }));
  // Lanes first, in a statement of their own: the settling one must see what a router queued while this waited for it.
  return withTransaction(pool, async (client) => {
    await client.query(
      `select from observers.lanes
       where (destination, ordering_key) in (select * from unnest($1::text[], $2::text[]))
       order by destination, ordering_key for update`,
      [inLanes.map((s) => s.delivery.destination), inLanes.map((s) => s.delivery.orderingKey)],
    );
    return settled(await client.query<{ id: string }>({ name: 'settle_lanes', text: settleQuery(true), values }));
  });
}

const settled = ({ rows }: pg.QueryResult<{ id: string }>): ReadonlySet<string> => new Set(rows.map((row) => row.id));

function settlementColumns(instance: string, settlements: readonly Settlement[]): unknown[] {
  const column = <T>(value: (s: Settlement) => T) => settlements.map(value);
  return [
    instance,
    column((s) => s.delivery.id),
    column((s) => s.delivery.lease),
    column((s) => s.kind),
    column((s) => (s.startedAt === null ? null : new Date(s.startedAt).toISOString())),
    column((s) => s.durationMs),
    column((s) => s.delayMs),
    column((s) => s.reason),
    column((s) => s.status),
    column((s) => storable(s.errorClass)),
    column((s) => storable(s.errorMessage)),
    column((s) => storable(s.responseExcerpt)),
    column((s) => (s.request === undefined ? null : storableJson(JSON.stringify(s.request)))),
    column((s) => s.keepAttempt && s.startedAt !== null),
  ];
}

/** PostgreSQL text holds no U+0000 and no half of a surrogate pair, and what a receiver answers may. */
function storable(text: string | null): string | null {
  return text === null ? null : text.toWellFormed().replaceAll('\u0000', '\uFFFD');
}

/** The same for jsonb. JSON.stringify writes U+0000 as an escape, and of surrogates those without their other half. */
function storableJson(json: string): string {
  return json.replace(/\\u(0000|d[89a-f][0-9a-f]{2})/g, '\\ufffd');
}

/** A dead letter that is replayed leaves with success, and stays with its newest failure otherwise. */
const settleQuery = (lanes: boolean) => `
with input as (
  select * from unnest($2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[], $6::real[], $7::float8[], $8::text[], $9::int[],
                       $10::text[], $11::text[], $12::text[], $13::jsonb[], $14::boolean[])
    as i(id, lease, kind, started_at, duration_ms, delay_ms, reason, status, error_class, error_message, excerpt, request, keep)
),
held as materialized (
  select d.*, i.kind, i.started_at, i.duration_ms, i.delay_ms, i.reason, i.status, i.error_class, i.error_message, i.excerpt,
         i.request, i.keep, d.attempts + (i.started_at is not null)::int as made
  from input i join observers.deliveries d on d.id = i.id and d.lease = i.lease
  for update of d
),
again as (
  update observers.deliveries d
  -- A new lease here too: a batch whose answer was lost is written again, and must count its attempts once.
  set state = 'ready', claimed_by = null, lease = ${newLease}, attempts = h.made, last_error = h.error_message,
      due_at = now() + make_interval(secs => h.delay_ms / 1000)
  from held h where d.id = h.id and h.kind = 'retry'
),
finished as (delete from observers.deliveries d using held h where d.id = h.id and h.kind <> 'retry'),
history as (
  insert into observers.attempts
    (delivery_id, event_id, event_uid, observer, action, destination, tenant, attempt, started_at, duration_ms, outcome,
     status, error_class, error_message, response_excerpt, instance)
  select h.id, h.event_id, h.event_uid, h.observer, h.action, h.destination, h.tenant, h.made, h.started_at, h.duration_ms,
         h.kind, h.status, h.error_class, h.error_message, h.excerpt, $1::uuid
  from held h where h.keep
),
died as (
  insert into observers.dead_letters
    (event_id, event_uid, event, observer, action, destination, tenant, reason, error_class, error_message, http_status,
     response_excerpt, request, attempts, first_attempt_at, rule_version)
  select h.event_id, h.event_uid, case when e.id is null then jsonb_build_object('uid', h.event_uid) else observers.event_json(e) end,
         h.observer, h.action, h.destination, h.tenant, h.reason, h.error_class, h.error_message, h.status, h.excerpt, h.request,
         h.made, h.first_attempt_at, h.rule_version
  from held h left join observers.events e on e.id = h.event_id and e.created_at = h.event_at
  where h.kind = 'dead' and h.dead_letter_id is null
),
died_again as (
  update observers.dead_letters k
  set reason = h.reason, error_class = h.error_class, error_message = h.error_message, http_status = h.status,
      response_excerpt = h.excerpt, request = coalesce(h.request, k.request), attempts = k.attempts + h.made, died_at = now()
  from held h where k.id = h.dead_letter_id and h.kind = 'dead'
),
revived as (delete from observers.dead_letters k using held h where k.id = h.dead_letter_id and h.kind = 'delivered')${lanes ? laneSettling : ''}
select id::text as id from held`;

/** The head has left: the next of its lane becomes claimable. */
const laneSettling = `,
left_lane as (
  select destination, ordering_key, count(*) as n from held where ordering_key is not null and kind <> 'retry' group by 1, 2
),
shorter as (
  update observers.lanes l set pending = l.pending - g.n from left_lane g
  where l.destination = g.destination and l.ordering_key = g.ordering_key and l.pending > g.n
),
empty as (
  delete from observers.lanes l using left_lane g
  where l.destination = g.destination and l.ordering_key = g.ordering_key and l.pending <= g.n
),
promoted as (
  update observers.deliveries d set state = 'ready'
  from left_lane g cross join lateral (
    select f.id from observers.deliveries f
    where f.destination = g.destination and f.ordering_key = g.ordering_key and f.state = 'blocked'
    order by f.id limit 1
  ) next
  where d.id = next.id
)`;

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
