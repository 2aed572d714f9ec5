import type pg from 'pg';
import { sqlState, withTransaction } from './connection.ts';
import { lockClass, locks } from './locks.ts';

/** More would cost every read of the log; when no sidecar runs for longer, the default partition catches the rest. */
const daysAhead = 3;

export interface RetentionPolicy {
  readonly eventsMs: number;
  readonly attemptsMs: number;
}

/**
 * Makes the partitions of the coming days and drops the days past retention; one instance at a time.
 * @returns names of the dropped partitions
 */
export async function keepHouse(pool: pg.Pool, retention: RetentionPolicy): Promise<readonly string[]> {
  const mine = await withTransaction(pool, async (client) => {
    const { rows } = await client.query<{ mine: boolean }>('select pg_try_advisory_xact_lock($1, $2) as mine', [
      lockClass,
      locks.housekeeping,
    ]);
    if (!rows[0]?.mine) return false;
    // A waiting lock request holds up everybody behind it: better to come back in a minute.
    await client.query("set local lock_timeout = '200ms'");
    await client.query('select observers.ensure_partitions($1)', [daysAhead]);
    await client.query(
      'delete from observers.dedupe_keys where ctid = any (array(select ctid from observers.dedupe_keys where created_at < now() - make_interval(secs => $1::float8 / 1000) limit 10000))',
      [retention.eventsMs],
    );
    return true;
  }).catch(ifBusy(false));
  if (!mine) return [];
  const dropped: string[] = [];
  for (const name of await expiredPartitions(pool, retention)) {
    if (await dropPartition(pool, name)) dropped.push(name);
  }
  return dropped;
}

/**
 * A day of events goes only when every event of it is routed (no transaction id in it is as new as the checkpoint's
 * oldest running one) and no delivery of it is pending.
 */
async function expiredPartitions(pool: pg.Pool, retention: RetentionPolicy): Promise<string[]> {
  const { rows } = await pool.query<{ name: string; day: string; kind: string }>(
    `select c.relname as name, to_date(right(c.relname, 8), 'YYYYMMDD')::text as day, p.relname as kind
     from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
     join pg_namespace n on n.oid = p.relnamespace
     where n.nspname = 'observers' and p.relname in ('events', 'attempts') and c.relname ~ '_[0-9]{8}$'
       and to_date(right(c.relname, 8), 'YYYYMMDD') + 1 <=
           now() - make_interval(secs => case p.relname when 'events' then $1::float8 else $2::float8 end / 1000)
     order by c.relname`,
    [retention.eventsMs, retention.attemptsMs],
  );
  const expired: string[] = [];
  for (const { name, day, kind } of rows) {
    if (kind === 'attempts' || (await isSettled(pool, name, day))) expired.push(name);
  }
  return expired;
}

async function isSettled(pool: pg.Pool, partition: string, day: string): Promise<boolean> {
  // The name is one of ours: letters, digits and underscores.
  const { rows } = await pool.query<{ settled: boolean }>(
    `select coalesce((select xid from observers.${partition} order by xid desc limit 1)
                     < (select pg_snapshot_xmin(snapshot) from observers.checkpoints where consumer = 'router'), true)
        and not exists (select from observers.deliveries where event_at >= $1::date and event_at < $1::date + 1) as settled`,
    [day],
  );
  return rows[0]?.settled === true;
}

async function dropPartition(pool: pg.Pool, name: string): Promise<boolean> {
  return withTransaction(pool, async (client) => {
    await client.query("set local lock_timeout = '200ms'");
    await client.query(`drop table observers.${name}`);
    return true;
  }).catch(ifBusy(false));
}

/** lock_not_available, or a partition that is being made by another session: the next round tries again. */
function ifBusy<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (sqlState(error) === '55P03' || sqlState(error) === '42P07') return value;
    throw error;
  };
}
