/**
 * The live queue: claim, settle, release. Every statement works on a batch, and every time is the database's clock.
 *
 * A claim carries a lease, a number of its own. Settling names the lease, so an instance that slept past its
 * heartbeat (SIGSTOP, a suspended machine) can't settle what another one has claimed since.
 */

import type pg from 'pg';
import type { Delivery } from '../../domain/delivery.ts';
import type { EventRecord } from '../../domain/event.ts';
import type {
  ClaimedBatch,
  ClaimedDelivery,
  ClaimWish,
  DeliveryQueue,
  GatherWish,
  TenantsSeen,
  TenantTurns,
} from '../contract.ts';
import { gatheringClaimQuery, gatheringTenantClaimQuery, plainClaimQuery, tenantClaimQuery } from './claim-sql.ts';
import {
  bytesInMemory,
  type EventRow,
  eventColumns,
  inlineEventBytes,
  keptEventColumns,
  toEventRecord,
} from './event-row.ts';
import { wakeChannel, wakeFor } from './locks.ts';
import { openNote } from './notes.ts';
import { settle } from './settlement.ts';

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

type ClaimRow = DeliveryRow &
  EventRow & { next_due_ms: number | null; large_bytes: number | null; seen: Record<string, TenantsSeen> | null };

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
  replay_run: string | null;
  /** Only of a claim that gathers. */
  together?: string | null;
  age_ms: number;
}

async function claim(
  pool: pg.Pool,
  instance: string,
  wanted: readonly ClaimWish[],
  memoryBytes = Number.POSITIVE_INFINITY,
): Promise<ClaimedBatch> {
  const slots = wanted.reduce((sum, wish) => sum + wish.slots, 0);
  const share = Math.floor(Math.max(alwaysInlineBytes, Math.min(inlineEventBytes, memoryBytes / slots)));
  const ask = (name: string, text: string, wishes: readonly ClaimWish[], more: readonly unknown[] = []) =>
    wishes.length > 0 ? [answerOf(pool, name, text, [...columnsOf(wishes), instance, share, ...more])] : [];
  const [atOnce, gathering] = [wanted.filter(({ gather }) => !gather), wanted.flatMap(withGather)];
  const [plain, shared] = [atOnce.filter(({ turns }) => !turns), atOnce.flatMap(withTurns)];
  const [gathered, gatheredInTurns] = [gathering.filter(({ turns }) => !turns), gathering.flatMap(withTurns)];
  const answers = await Promise.all([
    ...ask('claim', plainClaimQuery, plain),
    ...ask('claim_tenants', tenantClaimQuery, shared, turnColumns(shared)),
    ...ask('claim_gathered', gatheringClaimQuery, gathered, gatherColumns(gathered)),
    ...ask('claim_gathered_tenants', gatheringTenantClaimQuery, gatheredInTurns, [
      ...turnColumns(gatheredInTurns),
      ...gatherColumns(gatheredInTurns),
      gatheredInTurns.map(({ gather }) => gather.most),
    ]),
  ]);
  const dues = answers.flatMap(({ nextDueMs }) => nextDueMs ?? []);
  return {
    claimed: answers.flatMap(({ claimed }) => claimed),
    nextDueMs: dues.length === 0 ? null : Math.min(...dues),
    tenants: new Map(answers.flatMap(({ tenants }) => [...(tenants ?? [])])),
  };
}

async function answerOf(pool: pg.Pool, name: string, text: string, values: unknown[]): Promise<ClaimedBatch> {
  const { rows } = await pool.query<ClaimRow>({ name, text, values });
  return {
    claimed: rows.filter((row) => row.delivery_id !== null).map(toClaimed),
    nextDueMs: rows[0]?.next_due_ms ?? null,
    tenants: new Map(Object.entries(rows[0]?.seen ?? {})),
  };
}

type Shared = { readonly turns: TenantTurns };
type Gathered = ClaimWish & { readonly gather: GatherWish };

const withTurns = <W extends ClaimWish>(wish: W): (W & Shared)[] =>
  wish.turns ? [{ ...wish, turns: wish.turns }] : [];
const withGather = (wish: ClaimWish): Gathered[] => (wish.gather ? [{ ...wish, gather: wish.gather }] : []);

const columnsOf = (wishes: readonly ClaimWish[]) => [
  wishes.map(({ destination }) => destination),
  wishes.map(({ slots }) => slots),
];

const gatherColumns = (wishes: readonly Gathered[]) => [
  wishes.map(({ gather }) => gather.waitMs),
  wishes.map(({ gather }) => gather.enough),
];

function turnColumns(wishes: readonly (ClaimWish & Shared)[]): unknown[] {
  return [
    wishes.map(({ turns }) => turns.after),
    wishes.map(({ turns }) => turns.most),
    wishes.map(({ turns }) =>
      JSON.stringify(Object.fromEntries([...turns.rooms].filter(([tenant]) => tenant !== null))),
    ),
    wishes.map(({ turns, slots }) => turns.rooms.get(null) ?? slots),
  ];
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
    replayRun: row.replay_run,
    ruleVersion: row.rule_version,
    ...(row.together && { together: row.together }),
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

const handBack = `set state = 'ready', claimed_by = null, 
  -- Without a delay it keeps its place in the order of the queue.
  due_at = case when $2::float8 > 0 then greatest(d.due_at, now() + make_interval(secs => $2::float8 / 1000)) else d.due_at end`;

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
