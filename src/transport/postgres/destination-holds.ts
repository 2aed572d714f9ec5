/** Destinations that are sent nothing: who says so, until when, and what waits for them. */

import type pg from 'pg';
import type { DestinationHold, Settlement } from '../contract.ts';

/** What of the table is in force, as jsonb; null when nothing is. */
export const holdsInForce = `(
  select jsonb_agg(jsonb_build_object(
    'destination', h.name, 'disabled_by', h.disabled_by, 'reason', h.disabled_reason,
    'paused_for_ms', greatest(0, extract(epoch from h.paused_until - now()) * 1000)))
  from observers.destinations h where h.disabled_at is not null or h.paused_until > now()
)`;

export interface HoldRow {
  readonly destination: string;
  readonly disabled_by: 'person' | 'receiver' | null;
  readonly reason: string | null;
  readonly paused_for_ms: number | null;
}

export function toHolds(rows: readonly HoldRow[] | null): readonly DestinationHold[] {
  return (rows ?? []).map((row) => ({
    destination: row.destination,
    disabledBy: row.disabled_by,
    reason: row.reason,
    pausedForMs: row.paused_for_ms ?? 0,
  }));
}

export async function readHolds(pool: pg.Pool): Promise<readonly DestinationHold[]> {
  const { rows } = await pool.query<{ holds: HoldRow[] | null }>(`select ${holdsInForce} as holds`);
  return toHolds(rows[0]?.holds ?? null);
}

/**
 * Part of the statement that settles: what receivers asked for, of those of the batch whose claim still counts. The first
 * reason for a disabled destination stays; a pause is only ever lengthened. In order of name, so that two batches wait for
 * each other and don't lock each other out.
 * @param first number of the first of its three parameters: ids, reasons, pauses; one of each per settlement
 */
export const holdSettling = (first: number) => `,
asked_holds as materialized (
  select h.destination, max(n.reason) as reason, max(n.pause_ms) as pause_ms
  from held h join unnest($${first}::bigint[], $${first + 1}::text[], $${first + 2}::float8[]) as n(id, reason, pause_ms) on n.id = h.id
  where n.reason is not null or n.pause_ms is not null
  group by 1
),
holding as (
  insert into observers.destinations as o (name, disabled_at, disabled_by, disabled_reason, paused_until)
  select destination, case when reason is not null then now() end, case when reason is not null then 'receiver' end, reason,
         now() + make_interval(secs => pause_ms / 1000)
  from asked_holds order by destination
  on conflict (name) do update
  set disabled_at = coalesce(o.disabled_at, excluded.disabled_at), disabled_by = coalesce(o.disabled_by, excluded.disabled_by),
      disabled_reason = case when o.disabled_at is null then excluded.disabled_reason else o.disabled_reason end,
      paused_until = greatest(o.paused_until, excluded.paused_until)
)`;

export function holdColumns(
  settlements: readonly Settlement[],
  storable: (text: string | null) => string | null,
): unknown[] {
  return [
    settlements.map(({ delivery }) => delivery.id),
    settlements.map(({ hold }) => (hold?.kind === 'disabled' ? storable(hold.reason) : null)),
    settlements.map(({ hold }) => (hold?.kind === 'paused' ? hold.forMs : null)),
  ];
}

/** @returns false when it was disabled already; then it is now by this person, for this reason */
export async function disableDestination(pool: pg.Pool, name: string, reason: string | null): Promise<boolean> {
  const { rows } = await pool.query<{ was_disabled: boolean }>(
    `with before as (select disabled_at is not null as was_disabled from observers.destinations where name = $1)
     insert into observers.destinations as o (name, disabled_at, disabled_by, disabled_reason) values ($1, now(), 'person', $2)
     on conflict (name) do update
     set disabled_at = coalesce(o.disabled_at, now()), disabled_by = 'person', disabled_reason = excluded.disabled_reason
     returning coalesce((select was_disabled from before), false) as was_disabled`,
    [name, reason],
  );
  return rows[0]?.was_disabled === false;
}

/** Ends a pause, too. @returns false when nothing held it */
export async function enableDestination(pool: pg.Pool, name: string): Promise<boolean> {
  const { rows } = await pool.query<{ held: boolean }>(
    `delete from observers.destinations where name = $1
     returning disabled_at is not null or coalesce(paused_until > now(), false) as held`,
    [name],
  );
  return rows[0]?.held === true;
}

/** A destination that was ever held: names as in the table. */
export interface HeldDestination {
  readonly destination: string;
  readonly state: 'disabled' | 'paused';
  readonly disabled_at: string | null;
  readonly disabled_by: 'person' | 'receiver' | null;
  readonly reason: string | null;
  /** null: not paused, or no longer. */
  readonly paused_until: string | null;
}

/** Those that are sent nothing now. */
export async function readHeldDestinations(pool: pg.Pool): Promise<readonly HeldDestination[]> {
  const { rows } = await pool.query<HeldDestination>(
    `select name as destination, case when disabled_at is null then 'paused' else 'disabled' end as state, disabled_at, disabled_by,
            disabled_reason as reason, case when paused_until > now() then paused_until end as paused_until
     from observers.destinations where disabled_at is not null or paused_until > now() order by name`,
  );
  return rows;
}
