import type pg from 'pg';
import type { RetentionPolicy } from '../../domain/retention.ts';
import { withTransaction } from './connection.ts';
import { sqlState } from './failures.ts';
import { lockClass, locks } from './locks.ts';
import { trimNotes } from './notes.ts';

/** More would cost every read of the log; when no sidecar runs for longer, the default partition catches the rest. */
const daysAhead = 3;
/** A waiting lock request holds up everybody behind it: better to come back in a minute. */
const lockTimeout = "set local lock_timeout = '200ms'";
const dedupeKeysPerStatement = 10_000;

/** Keys given to `emit` are remembered as long as events. */
type KeptFor = Pick<RetentionPolicy, 'eventsMs'>;

export interface HouseKept {
  /** What this role may not do, in words; empty when all is well. */
  readonly refused: readonly string[];
}

/** Makes the partitions of the coming days, and trims what is no partition; one instance at a time. */
export async function keepHouse(pool: pg.Pool, retention: KeptFor, instance?: string): Promise<HouseKept> {
  const refused: string[] = [];
  const mine = await permitted(() => makePartitions(pool), 'make the partitions of the coming days', refused);
  if (mine === false) return { refused };
  if (instance !== undefined) {
    await pool.query('update observers.instances set housekept_at = now() where id = $1', [instance]);
  }
  await permitted(() => trimDedupeKeys(pool, retention), 'trim observers.dedupe_keys', refused);
  await permitted(() => trimNotes(pool), 'trim observers.notes', refused);
  return { refused };
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

const daysToMakeQuery = `
with day as (
  select start::date as day, start at time zone 'UTC' as from, (start + interval '1 day') at time zone 'UTC' as to
  from generate_series(date_trunc('day', now() at time zone 'UTC'), now() at time zone 'UTC' + make_interval(days => $1), interval '1 day') start
), partition as (
  select 'events_' || to_char(day, 'YYYYMMDD') as name,
         exists (select from observers.events_default e where e.created_at >= day.from and e.created_at < day.to) as covered
  from day
  union all
  select 'attempts_' || to_char(day, 'YYYYMMDD'),
         exists (select from observers.attempts_default a where a.started_at >= day.from and a.started_at < day.to)
  from day
)
select name from partition where not covered and to_regclass('observers.' || name) is null order by name`;

/**
 * Partitions of today and the coming days that are not there yet, by name. A day that has rows in the default partition already stays
 * there, so it is not among them.
 */
export async function daysToMake(pool: pg.Pool): Promise<readonly string[]> {
  const { rows } = await pool.query<{ name: string }>(daysToMakeQuery, [daysAhead]);
  return rows.map(({ name }) => name);
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

async function trimDedupeKeys(pool: pg.Pool, retention: KeptFor): Promise<void> {
  for (let trimmed = dedupeKeysPerStatement; trimmed === dedupeKeysPerStatement; ) {
    const { rowCount } = await pool.query(
      `delete from observers.dedupe_keys where ctid = any (array(
         select ctid from observers.dedupe_keys where created_at < now() - make_interval(secs => $1::float8 / 1000) limit $2))`,
      [retention.eventsMs, dedupeKeysPerStatement],
    );
    trimmed = rowCount ?? 0;
  }
}

/** lock_not_available, a deadlock, or a partition that another session is making: the next round tries again. */
function ifBusy<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (['55P03', '40P01', '42P07'].includes(sqlState(error) ?? '')) return value;
    throw error;
  };
}
