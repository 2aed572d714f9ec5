/** Decisions as SQL: what a commit of them, and a replay, are put together from. */

import { createHash } from 'node:crypto';
import type { Decisions, Handover, NewDelivery, ShadowRecord } from '../contract.ts';
import { digitsArray, textArray } from './array-literal.ts';
import { storable, storableJson } from './settlement.ts';

/** What is queued; nothing else when `lanes` is false: all of it is in the lane of nobody. */
interface Queueing {
  readonly lanes: boolean;
  /** The replay that queues them, as SQL. */
  readonly replayRun?: string;
}

/** How many parameters `queueing` has. */
export const queueingParameters = 11;

/** Deliveries as arrays, from parameter `first` on. Ordinality keeps the order of the log. */
export const queueing = (first: number, { lanes, replayRun = 'null' }: Queueing) => `
  wanted as (
    select * from unnest($${first}::bigint[], $${first + 1}::timestamptz[], $${first + 2}::uuid[], $${first + 3}::text[], $${first + 4}::text[],
                         $${first + 5}::text[], $${first + 6}::text[], $${first + 7}::text[], $${first + 8}::text[], $${first + 9}::bigint[])
      with ordinality as w(event_id, event_at, event_uid, observer, action, destination, tenant, ordering_key, rule_version, lease, n)
    where (select moved from gate)
  ),${lanes ? placedInLanes : placedAnywhere}
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
  )`;

/** The lane's row lock orders this against the settlement of the lane's head. */
const placedInLanes = `
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
  ),`;

const placedAnywhere = `
  placed as (select w.*, true as claimable from wanted w),`;

/** Conditions that could not be evaluated, five parameters from `first` on. */
export const failing = (first: number) => `,
  fault as (
    select * from unnest($${first}::bigint[], $${first + 1}::timestamptz[], $${first + 2}::text[], $${first + 3}::text[], $${first + 4}::text[])
      with ordinality as f(event_id, event_at, observer, message, rule_version, n)
    where (select moved from gate)
  )`;

/** Both kinds of decision, from parameter `first` on, as `decisionColumns` has them. */
export const decisionInput = (first: number, replayRun?: string) =>
  queueing(first, { lanes: true, ...(replayRun !== undefined && { replayRun }) }) + failing(first + queueingParameters);

/** Seven parameters from `first` on. They wait for nobody, and nobody for them. */
export const refusedByQuota = (first: number) => `,
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
export const shadowing = (first: number) => `,
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

export function decisionColumns(decisions: Decisions): unknown[] {
  return [...queueingColumns(decisions), ...faultColumns(decisions)];
}

export function queueingColumns({ deliveries }: Decisions, handover: Handover | null = null): unknown[] {
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
  ];
}

export function faultColumns({ faults }: Decisions): unknown[] {
  return [
    digitsArray(faults.map((f) => f.event.id)),
    textArray(faults.map((f) => f.event.at)),
    textArray(faults.map((f) => f.observer)),
    textArray(faults.map((f) => withoutNul(f.message))),
    textArray(faults.map((f) => f.ruleVersion)),
  ];
}

export function refusedColumns(deliveries: readonly NewDelivery[]): unknown[] {
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

export function shadowColumns(shadows: readonly ShadowRecord[]): unknown[] {
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
