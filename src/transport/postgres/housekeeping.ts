import type pg from 'pg';
import { sqlState, withTransaction } from './connection.ts';
import { lockClass, locks } from './locks.ts';
import { trimNotes } from './notes.ts';

/** More would cost every read of the log; when no sidecar runs for longer, the default partition catches the rest. */
const daysAhead = 3;
/** A waiting lock request holds up everybody behind it: better to come back in a minute. */
const lockTimeout = "set local lock_timeout = '200ms'";
const dedupeKeysPerStatement = 10_000;

export interface RetentionPolicy {
  readonly eventsMs: number;
  readonly attemptsMs: number;
}

export interface HouseKept {
  /** Names of the partitions that were dropped. */
  readonly dropped: readonly string[];
  /** What this role may not do, in words; empty when all is well. */
  readonly refused: readonly string[];
}

/** Makes the partitions of the coming days, and drops the days and the dedupe keys past retention; one instance at a time. */
export async function keepHouse(pool: pg.Pool, retention: RetentionPolicy, instance?: string): Promise<HouseKept> {
  const refused: string[] = [];
  const dropped: string[] = [];
  const mine = await permitted(() => makePartitions(pool), 'make the partitions of the coming days', refused);
  if (mine === false) return { dropped, refused };
  if (instance !== undefined) {
    await pool.query('update observers.instances set housekept_at = now() where id = $1', [instance]);
  }
  await permitted(() => trimDedupeKeys(pool, retention), 'trim observers.dedupe_keys', refused);
  await permitted(() => trimNotes(pool), 'trim observers.notes', refused);
  for (const partition of await expiredPartitions(pool, retention)) {
    const gone = await permitted(() => dropPartition(pool, partition), `drop ${partition.name}`, refused);
    if (gone === true) dropped.push(partition.name);
  }
  return { dropped, refused };
}

/** A role without rights on the tables' structure can run all the same; it must be said, and done by another role. */
async function permitted<T>(work: () => Promise<T>, what: string, refused: string[]): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (sqlState(error) !== '42501') throw error;
    refused.push(
      `this role may not ${what}: run \`pg-observers apply\` and \`run\` as the owner of the schema observers`,
    );
    return null;
  }
}

/** @returns false when another instance is at it */
async function makePartitions(pool: pg.Pool): Promise<boolean> {
  return withTransaction(pool, async (client) => {
    const { rows } = await client.query<{ mine: boolean }>('select pg_try_advisory_xact_lock($1, $2) as mine', [
      lockClass,
      locks.housekeeping,
    ]);
    if (!rows[0]?.mine) return false;
    await client.query(lockTimeout);
    await client.query('select observers.ensure_partitions($1)', [daysAhead]);
    return true;
  }).catch(ifBusy(true));
}

async function trimDedupeKeys(pool: pg.Pool, retention: RetentionPolicy): Promise<void> {
  for (let trimmed = dedupeKeysPerStatement; trimmed === dedupeKeysPerStatement; ) {
    const { rowCount } = await pool.query(
      `delete from observers.dedupe_keys where ctid = any (array(
         select ctid from observers.dedupe_keys where created_at < now() - make_interval(secs => $1::float8 / 1000) limit $2))`,
      [retention.eventsMs, dedupeKeysPerStatement],
    );
    trimmed = rowCount ?? 0;
  }
}

interface Partition {
  readonly name: string;
  readonly parent: 'events' | 'attempts';
  readonly day: string;
}

async function expiredPartitions(pool: pg.Pool, retention: RetentionPolicy): Promise<readonly Partition[]> {
  const { rows } = await pool.query<Partition>(
    `select c.relname as name, to_date(right(c.relname, 8), 'YYYYMMDD')::text as day, p.relname as parent
     from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
     join pg_namespace n on n.oid = p.relnamespace
     where n.nspname = 'observers' and p.relname in ('events', 'attempts') and c.relname ~ '_[0-9]{8}$'
       and to_date(right(c.relname, 8), 'YYYYMMDD') + 1 <=
           now() - make_interval(secs => case p.relname when 'events' then $1::float8 else $2::float8 end / 1000)
     order by c.relname`,
    [retention.eventsMs, retention.attemptsMs],
  );
  return rows;
}

/** Looked at twice: cheaply first, and again under the lock, when no writer can come in between. */
async function dropPartition(pool: pg.Pool, { name, parent, day }: Partition): Promise<boolean> {
  if (parent === 'events' && !(await isSettled(pool, name, day))) return false;
  return withTransaction(pool, async (client) => {
    await client.query(lockTimeout);
    // The parent first, as writers do: the other way round would be a deadlock.
    await client.query(`lock table only observers.${parent}, only observers.${name} in access exclusive mode`);
    if (parent === 'events' && !(await isSettled(client, name, day))) return false;
    await client.query(`drop table observers.${name}`);
    return true;
  }).catch(ifBusy(false));
}

/** A day of events goes only when every event of it is routed, and no delivery of it is pending. */
async function isSettled(client: pg.Pool | pg.PoolClient, partition: string, day: string): Promise<boolean> {
  // The name is one of ours: letters, digits and underscores. What is older than the oldest transaction that ran at the
  // checkpoint is routed for sure, so the index on xid leaves little to look at.
  const { rows } = await client.query<{ settled: boolean }>(
    `select not exists (
       select from observers.checkpoints c, observers.${partition} e
       where c.consumer = 'router' and e.xid >= pg_snapshot_xmin(c.snapshot) and not pg_visible_in_snapshot(e.xid, c.snapshot)
     ) and not exists (
       select from observers.deliveries
       where dead_letter_id is null and event_at >= $1::date and event_at < $1::date + 1
     ) as settled`,
    [day],
  );
  return rows[0]?.settled === true;
}

/** lock_not_available, a deadlock, or a partition that another session is making: the next round tries again. */
function ifBusy<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (['55P03', '40P01', '42P07'].includes(sqlState(error) ?? '')) return value;
    throw error;
  };
}
