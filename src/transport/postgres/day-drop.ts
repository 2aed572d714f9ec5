/**
 * How a day leaves the log without holding up writers.
 *
 * `detach partition … concurrently` would be gentler, but is refused where there is a default partition. So it is dropped under
 * the lock of the whole table, and everything that takes time comes before that: under a lock that only keeps others from
 * writing into this one day, which is over. The lock of the table is asked for with a short timeout, since whoever waits for
 * it holds up all writers behind it; then they have peace before the next try.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { LogDay } from '../../domain/retention.ts';
import { type ArchivedDay, ArchiveError, type DayArchive } from '../contract.ts';
import { withTransaction } from './connection.ts';
import { dayLines } from './day-lines.ts';
import { sqlState } from './failures.ts';
import { lockClass, locks } from './locks.ts';
import { whatHolds } from './log-days.ts';

/** Milliseconds that writers may wait behind each try; the longer ones are for where transactions are long. */
const tries = [50, 50, 100, 100, 200, 200];
/** Between two tries they have the table for so many times as long. */
const peace = 10;
/** A disk that hangs for longer costs the transaction, and the day stays. */
const idleTimeout = "set local idle_in_transaction_session_timeout = '5min'";

export interface DropOptions {
  readonly archive: DayArchive | null;
  /** When it is aborted, the day that is at hand stays. */
  readonly signal?: AbortSignal;
}

export type DropResult =
  | { readonly result: 'dropped'; readonly archived: ArchivedDay | null }
  /** `busy`: it would have gone, but others were at it; the next round tries again. */
  | { readonly result: 'held' | 'busy'; readonly why: string; readonly archived?: ArchivedDay };

/** @throws ArchiveError and the day stays; and whatever PostgreSQL says */
export async function dropDay(pool: pg.Pool, day: LogDay, options: DropOptions): Promise<DropResult> {
  const held = await whatHolds(pool, day);
  if (held !== null) return { result: 'held', why: held };
  await options.archive?.check();
  return withTransaction(pool, (client) => dropWithin(client, day, options)).catch((error: unknown) => {
    if (isBusy(error)) return { result: 'busy', why: `${day.name} is in use` };
    throw error;
  });
}

async function dropWithin(client: pg.PoolClient, day: LogDay, { archive, signal }: DropOptions): Promise<DropResult> {
  if (!(await isMine(client))) return { result: 'busy', why: 'another instance archives or drops days' };
  await client.query(idleTimeout);
  await client.query("set local lock_timeout = '200ms'");
  await client.query(`lock table only observers.${day.name} in share row exclusive mode`);
  const held = await whatHolds(client, day);
  if (held !== null) return { result: 'held', why: held };
  const archived = archive === null ? null : await store(client, day, archive, signal);
  const kept = archived === null ? {} : { archived };
  const settled = await settledDeliveries(client);
  if (settled === null) return { result: 'busy', why: 'deliveries are being queued in a long transaction', ...kept };
  const pending = await whatHolds(client, day);
  if (pending !== null) return { result: 'held', why: pending, ...kept };
  if (!(await lockOut(client, day, signal)))
    return { result: 'busy', why: `observers.${day.table} is in use`, ...kept };
  // Now nobody can read the day to queue something of it (a replay). A look at the whole queue would take too long here.
  const late = await whatHolds(client, day, settled);
  if (late !== null) return { result: 'held', why: late, ...kept };
  await client.query(`drop table observers.${day.name}`);
  return { result: 'dropped', archived };
}

async function isMine(client: pg.PoolClient): Promise<boolean> {
  const { rows } = await client.query<{ mine: boolean }>('select pg_try_advisory_xact_lock($1, $2) as mine', [
    lockClass,
    locks.retention,
  ]);
  return rows[0]?.mine === true;
}

/** The rows in the file are counted against those of the table, to which nobody can add meanwhile. */
async function store(
  client: pg.PoolClient,
  day: LogDay,
  archive: DayArchive,
  signal: AbortSignal | undefined,
): Promise<ArchivedDay> {
  const { rows } = await client.query<{ rows: string; database: string }>(
    `select count(*)::text as rows,
            (select system_identifier from pg_control_system())::text || '/' || current_database() as database
     from observers.${day.name}`,
  );
  const { rows: count = '', database = '' } = rows[0] ?? {};
  const stored = await archive.stored({ ...day, database });
  if (stored !== null && String(stored.rows) === count) return stored;
  const archived = await archive.store({ ...day, database }, abortable(dayLines(client, day), signal));
  if (String(archived.rows) === count) return archived;
  throw new ArchiveError(`${archived.file} has ${archived.rows} rows, and observers.${day.name} ${count}`);
}

async function* abortable<T>(lines: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  for await (const line of lines) {
    signal?.throwIfAborted();
    yield line;
  }
}

/**
 * The largest number of a delivery such that all up to it can be seen from now on: whoever had one of them to give has
 * ended. Null: somebody takes too long over it.
 */
async function settledDeliveries(client: pg.PoolClient): Promise<string | null> {
  const { rows } = await client.query<{ last: string }>(
    'select last_value::text as last from observers.deliveries_id_seq',
  );
  const { rows: writing } = await client.query<{ id: string }>(
    `select virtualtransaction as id from pg_locks where ${writesDeliveries}`,
  );
  const ids = writing.map(({ id }) => id);
  for (let look = 0; look < 600; look++) {
    const { rowCount } = await client.query(
      `select from pg_locks where ${writesDeliveries} and virtualtransaction = any ($1) limit 1`,
      [ids],
    );
    if (rowCount === 0) return rows[0]?.last ?? null;
    await sleep(50);
  }
  return null;
}

const writesDeliveries = `locktype = 'relation' and relation = 'observers.deliveries'::regclass and mode = 'RowExclusiveLock'
  and database = (select oid from pg_database where datname = current_database()) and pid is distinct from pg_backend_pid()`;

/** The parent first, as writers do: the other way round would be a deadlock. @returns false when it was never free */
async function lockOut(
  client: pg.PoolClient,
  { name, table }: LogDay,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  for (const timeoutMs of tries) {
    signal?.throwIfAborted();
    await client.query('savepoint before_lock');
    try {
      await client.query(`set local lock_timeout = ${timeoutMs}`);
      await client.query(`lock table only observers.${table}, only observers.${name} in access exclusive mode`);
      return true;
    } catch (error) {
      if (!isBusy(error)) throw error;
      await client.query('rollback to savepoint before_lock');
      await sleep(timeoutMs * peace, undefined, signal === undefined ? {} : { signal });
    }
  }
  return false;
}

/** lock_not_available, a deadlock, or a day that another session has just dropped. */
function isBusy(error: unknown): boolean {
  return ['55P03', '40P01', '42P01'].includes(sqlState(error) ?? '');
}
