import type pg from 'pg';
import type { LogDay } from '../../domain/retention.ts';

export interface LogDays {
  readonly days: readonly OwnedDay[];
  /** Of what no day covers: it is never dropped. */
  readonly defaults: readonly { readonly name: string; readonly bytes: number; readonly rows: number | null }[];
}

export interface OwnedDay extends LogDay {
  /** This role may drop it. */
  readonly owned: boolean;
}

interface Row extends OwnedDay {
  readonly isDefault: boolean;
}

/** Sizes by the file system, rows by the statistics: nothing is read. A day that was just dropped by another session is left out. */
const daysQuery = `
select c.relname as name, p.relname as table, c.relname !~ '_[0-9]{8}$' as "isDefault", day::text,
       size::float8 as bytes, nullif(c.reltuples, -1)::float8 as rows,
       coalesce(extract(epoch from now() - (day + 1)::timestamptz)::float8 * 1000, 0) as "endedMs",
       pg_has_role(c.relowner, 'usage') and pg_has_role(p.relowner, 'usage') as owned
from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
join pg_namespace n on n.oid = p.relnamespace
cross join lateral (select pg_total_relation_size(c.oid) as size) sized
cross join lateral (
  select case when c.relname ~ '_[0-9]{8}$' then to_date(right(c.relname, 8), 'YYYYMMDD') end as day) named
where n.nspname = 'observers' and p.relname in ('events', 'attempts') and size is not null
order by c.relname`;

/** Of the log and of the history, by name. */
export async function readLogDays(pool: pg.Pool): Promise<LogDays> {
  const { rows } = await pool.query<Row>(daysQuery);
  return {
    days: rows.filter(({ isDefault }) => !isDefault).map(({ isDefault: _, ...day }) => day),
    defaults: rows
      .filter(({ isDefault }) => isDefault)
      .map(({ name, bytes, rows: count }) => ({ name, bytes, rows: count })),
  };
}

/**
 * Why a day of events may not go: one of them is not routed, or has a delivery pending. Null: it may.
 * @param afterDelivery looks only at deliveries with a larger number
 */
export async function whatHolds(
  client: pg.Pool | pg.PoolClient,
  { name, table, day }: LogDay,
  afterDelivery = '0',
): Promise<string | null> {
  if (table !== 'events') return null;
  // The name is one of ours: letters, digits and underscores. What is older than the oldest transaction that ran at the
  // checkpoint is routed for sure, so the index on xid leaves little to look at.
  const { rows } = await client.query<{ unrouted: string | null; observer: string | null; destination: string | null }>(
    `select unrouted.uid::text as unrouted, pending.observer, pending.destination
     from (select) one
     left join lateral (
       select e.uid from observers.checkpoints c, observers.${name} e
       where c.consumer = 'router' and e.xid >= pg_snapshot_xmin(c.snapshot) and not pg_visible_in_snapshot(e.xid, c.snapshot)
       limit 1
     ) unrouted on true
     left join lateral (
       select d.observer, d.destination from observers.deliveries d
       where d.id > $2::bigint and d.dead_letter_id is null
         and d.event_at >= $1::date and d.event_at < $1::date + 1
       limit 1
     ) pending on true`,
    [day, afterDelivery],
  );
  const { unrouted = null, observer = null, destination = null } = rows[0] ?? {};
  if (unrouted !== null) return `event ${unrouted} is not routed yet`;
  return observer === null ? null : `a delivery of ${observer} to ${destination} is pending`;
}
