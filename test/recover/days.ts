import type pg from 'pg';
import { onTestFinished } from 'vitest';
import type { RetentionPolicy } from '../../src/domain/retention.ts';
import { openArchive } from '../../src/transport/archive/directory-archive.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { enforceRetention } from '../../src/transport/postgres/retention.ts';
import type { TestDatabase } from '../support/database.ts';

const day = 86_400_000;
export const week: RetentionPolicy = { eventsMs: 7 * day, attemptsMs: 7 * day, maxBytes: null, archive: null };

export const archivedIn = (directory: string): RetentionPolicy => ({ ...week, archive: { directory } });

/** With the sessions of the program. */
export function worker(database: TestDatabase): pg.Pool {
  const pool = createPool(database.url, 2);
  onTestFinished(() => pool.end());
  return pool;
}

/** @returns what became of the days that were due */
export function retain(
  pool: pg.Pool,
  policy: RetentionPolicy = week,
  more: { dryRun?: boolean; signal?: AbortSignal } = {},
) {
  const archive = policy.archive === null ? null : openArchive(policy.archive.directory);
  return enforceRetention(pool, { policy, archive, ...more });
}

/** Runs it. @returns the names of the days that it dropped */
export async function dropped(pool: pg.Pool, policy: RetentionPolicy = week): Promise<string[]> {
  const { steps } = await retain(pool, policy);
  return steps.filter(({ result }) => result === 'dropped').map(({ partition }) => partition);
}

export async function partitions(database: TestDatabase, parent: string): Promise<string[]> {
  const { rows } = await database.query<{ name: string }>(
    `select inhrelid::regclass::text as name from pg_inherits where inhparent = $1::regclass order by 1`,
    [`observers.${parent}`],
  );
  return rows.map(({ name }) => name.replace('observers.', ''));
}

/** A partition of so many days ago, with one event in it that this transaction writes. @returns its name */
export async function pastDay(
  database: TestDatabase,
  daysAgo: number,
  parent: 'events' | 'attempts' = 'events',
): Promise<string> {
  const { rows } = await database.query<{ name: string; from: string; to: string }>(
    `select $1 || '_' || to_char(current_date - $2::int, 'YYYYMMDD') as name, (current_date - $2::int)::text as from,
            (current_date - $2::int + 1)::text as to`,
    [parent, daysAgo],
  );
  const { name = '', from, to } = rows[0] ?? {};
  await database.query(
    `create table observers.${name} partition of observers.${parent} for values from ('${from} 00:00Z') to ('${to} 00:00Z')`,
  );
  return name;
}

export const pastEvent = (database: TestDatabase, daysAgo: number) =>
  database.query(
    `insert into observers.events (source, operation, payload, created_at)
     values ('orders', 'emit', '{}', (current_date - $1::int + time '12:00') at time zone 'UTC')`,
    [daysAgo],
  );

/** A checkpoint that has seen everything. */
export const routed = (database: TestDatabase) =>
  database.query('update observers.checkpoints set snapshot = pg_current_snapshot(), target = null, after_id = 0');
