/**
 * Gives back what the indexes of the queue keep after a burst.
 *
 * VACUUM empties index pages and keeps them for what comes next: right while as much comes as before, and else a file that is
 * dozens of times too large for good. So when neither what waits nor what came within the last minute needs such indexes, they are
 * rebuilt beside everybody who reads and writes (`reindex … concurrently`), one instance at a time.
 *
 * Rejected: an empty table truncated is simpler, but locks out everybody, and a queue where something always waits for its
 * retry is never empty. Vacuuming more often ourselves makes a burst leave less, and takes as much disk and processor at the very time when
 * there is most to do. Fewer indexes there are not: each serves a claim, a lane or a rescue. `observers.lanes` is left out: a
 * rebuilt unique index can make `insert … on conflict`, which names its columns, fail on a duplicate; what goes into the queue names none.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { RebuiltQueue } from '../contract.ts';
import { connectionConfig } from './connection.ts';
import { isTransient, sqlState } from './failures.ts';
import { lockClass, locks } from './locks.ts';
import { WatchedClient } from './watched-client.ts';
import { Wires } from './wires.ts';

export interface QueueIndexesOptions {
  readonly pool: pg.Pool;
  /** Where a session of our own is to be had: this can't be done in a transaction. */
  readonly url: string;
  /** How long no more may have come than small indexes have room for. Milliseconds; less only for tests. */
  readonly quietMs?: number;
  /** All of them together, below which it is not worth it. Bytes; less only for tests. */
  readonly worthBytes?: number;
}

/** Of a delivery in all indexes, about. */
const entryBytes = 150;
/** How many times larger than what they need, before it is worth it. */
const tooLarge = 4;
/** What a longer queue's indexes take is no waste, and rebuilding them takes long. */
const shortQueue = 100_000;
/** One of this size is not rebuilt with the others. Bytes. */
const smallIndex = 64 * 1024;
/**
 * A rebuild waits for transactions that are older than itself, and VACUUM of the queue waits for the rebuild: so not for long, and
 * not until the server looks for deadlocks (1 s), which ends an autovacuum that is in the way.
 */
const waitMs = 500;
/** For each index. */
const workMs = 20_000;
/** After one that failed: something is always open here. */
const restMs = 10 * 60_000;

interface Survey {
  /** Of this role: by others it is done elsewhere, or not. */
  readonly indexes: readonly { readonly name: string; readonly bytes: number; readonly broken: boolean }[];
  /** Deliveries that ever came, as statistics have it. */
  readonly came: number;
}

export class QueueIndexes {
  readonly #options: Required<QueueIndexesOptions>;
  #sample: { readonly at: number; readonly came: number } | null = null;
  #notBefore = Number.NEGATIVE_INFINITY;

  constructor(options: QueueIndexesOptions) {
    this.#options = { quietMs: 45_000, worthBytes: 4 * 1024 * 1024, ...options };
  }

  /**
   * Takes seconds at most, and no longer than it takes to hang up once aborted: the server then ends by itself what it is at.
   * @returns what was rebuilt; null: nothing
   */
  async keepSmall(signal: AbortSignal): Promise<RebuiltQueue | null> {
    const { pool } = this.#options;
    const survey = await readSurvey(pool);
    const came = this.#cameSince(survey);
    const due = async (now: Survey) =>
      came === null || performance.now() < this.#notBefore ? [] : this.#tooLarge(pool, now, came);
    if (broken(survey).length === 0 && (await due(survey)).length === 0) return null;
    try {
      return await this.#inSession(signal, async (client) => {
        if (await isLongOpen(client, signal)) return null;
        // Under the lock once more: another instance may have done it meanwhile.
        const now = await readSurvey(client);
        return rebuild(client, broken(now), await due(now));
      });
    } catch (error) {
      this.#notBefore = performance.now() + restMs;
      if (signal.aborted || canWait(error)) return null;
      throw error;
    }
  }

  /** Deliveries that came within a quiet time; null: that is not over yet. */
  #cameSince({ came }: Survey): number | null {
    const now = performance.now();
    const former = this.#sample;
    if (former !== null && now - former.at < this.#options.quietMs) return null;
    this.#sample = { at: now, came };
    // Less than before: the statistics were reset.
    return former === null || came < former.came ? null : came - former.came;
  }

  async #tooLarge(pool: pg.Pool, { indexes }: Survey, came: number): Promise<readonly string[]> {
    const bytes = sum(indexes);
    const room = (deliveries: number) => tooLarge * entryBytes * deliveries;
    if (bytes < this.#options.worthBytes || bytes < room(came)) return [];
    const { rows } = await pool.query<{ waiting: number }>(
      `select count(*)::int as waiting from (select from observers.deliveries limit ${shortQueue + 1}) d`,
    );
    const waiting = rows[0]?.waiting ?? 0;
    if (waiting > shortQueue || bytes < room(waiting)) return [];
    return indexes.filter((index) => !index.broken && index.bytes >= smallIndex).map(({ name }) => name);
  }

  /** A lock of the session, which goes with it. @returns null when another instance is at it */
  async #inSession<T>(signal: AbortSignal, work: (client: pg.Client) => Promise<T>): Promise<T | null> {
    const wires = new Wires();
    const config = connectionConfig(this.#options.url, 'upkeep', 'on', wires);
    const client: pg.Client = new WatchedClient({ ...config, query_timeout: workMs + 5_000 });
    client.on('error', () => {});
    const hangUp = () => wires.cut();
    signal.addEventListener('abort', hangUp, { once: true });
    try {
      signal.throwIfAborted();
      await client.connect();
      // By a statement: a pooler in session mode may have dropped the settings of the start-up packet.
      const { rows } = await client.query<{ mine: boolean }>(
        `select pg_try_advisory_lock($1, $2) as mine, set_config('lock_timeout', $3, false), set_config('statement_timeout', $4, false)`,
        [lockClass, locks.rebuilding, String(waitMs), String(workMs)],
      );
      return rows[0]?.mine ? await work(client) : null;
    } finally {
      signal.removeEventListener('abort', hangUp);
      await Promise.race([client.end().catch(() => {}), sleep(waitMs, undefined, { ref: false })]);
      hangUp();
    }
  }
}

/**
 * Whether a transaction is open that a rebuild would wait for. Asked before, as one that gives up leaves an index which writers fill
 * until it can be dropped, and that waits, too. By looking twice: since when others' transactions are open not every role may know.
 */
async function isLongOpen(client: pg.Client, signal: AbortSignal): Promise<boolean> {
  const look = async () => {
    const { rows } = await client.query<{ id: string }>(openTransactions);
    return rows.map(({ id }) => id);
  };
  const before = await look();
  await sleep(waitMs, undefined, { signal });
  return (await look()).some((id) => before.includes(id));
}

/** Of this database, prepared ones only when they hold the queue. Autovacuum has no user, and is not waited for. */
const openTransactions = `
select l.virtualtransaction as id from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'virtualxid' and l.pid <> pg_backend_pid() and a.usesysid is not null
  and a.datid = (select oid from pg_database where datname = current_database())
union all
select l.virtualtransaction from pg_locks l
where l.pid is null and l.relation = 'observers.deliveries'::regclass
  and l.database = (select oid from pg_database where datname = current_database())`;

/** PostgreSQL 14.0 to 14.3 may build a broken index beside writers. */
async function readSurvey(connection: pg.Pool | pg.Client): Promise<Survey> {
  const { rows } = await connection.query<{ name: string; bytes: number; broken: boolean; came: number }>(
    `select format('%I.%I', n.nspname, i.relname) as name, pg_relation_size(i.oid)::float8 as bytes, not x.indisvalid as broken,
            pg_stat_get_tuples_inserted(x.indrelid)::float8 as came
     from pg_index x join pg_class i on i.oid = x.indexrelid join pg_namespace n on n.oid = i.relnamespace
     where x.indrelid = 'observers.deliveries'::regclass and pg_has_role(i.relowner, 'usage')
       and (x.indisvalid or i.relname ~ '^deliveries_.*_cc(new|old)[0-9]*$')
       and current_setting('server_version_num')::int not between 140000 and 140003
     order by i.relname`,
  );
  return { indexes: rows, came: rows[0]?.came ?? 0 };
}

/** What a rebuild left behind that did not come to its end: writers may still have to fill it, and nobody reads it. */
const broken = ({ indexes }: Survey): readonly string[] =>
  indexes.filter((index) => index.broken).map(({ name }) => name);

async function rebuild(
  client: pg.Client,
  leftovers: readonly string[],
  indexes: readonly string[],
): Promise<RebuiltQueue | null> {
  await dropAll(client, leftovers);
  if (indexes.length === 0) return null;
  const began = performance.now();
  const bytesBefore = sum((await readSurvey(client)).indexes);
  try {
    for (const name of indexes) await client.query(`reindex index concurrently ${name}`);
  } catch (error) {
    // What can't be dropped now is found the next time.
    await dropAll(client, broken(await readSurvey(client))).catch(() => {});
    throw error;
  }
  const bytesAfter = sum((await readSurvey(client)).indexes);
  return { indexes, bytesBefore, bytesAfter, tookMs: performance.now() - began };
}

/** Not those of a rebuild that is going on, somebody's by hand: its lock is in the way. */
async function dropAll(client: pg.Client, names: readonly string[]): Promise<void> {
  for (const name of names) await client.query(`drop index concurrently if exists ${name}`);
}

const sum = (indexes: readonly { readonly bytes: number }[]): number =>
  indexes.reduce((total, { bytes }) => total + bytes, 0);

/** Something was in the way or took too long, there is no connection to be had, or an index went away meanwhile. */
function canWait(error: unknown): boolean {
  return isTransient(error) || ['42704', '42P01'].includes(sqlState(error) ?? '');
}
