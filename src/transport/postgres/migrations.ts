import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type pg from 'pg';
import { UserError } from '../../domain/errors.ts';
import { withTransaction } from './connection.ts';
import { describeError, StandbyError, sqlState } from './failures.ts';
import { quoteLiteral } from './identifiers.ts';
import { lockClass, locks } from './locks.ts';

export interface Migration {
  readonly version: number;
  readonly name: string;
  /** The file, and the statement that notes it as applied. */
  readonly sql: string;
}

const folder = new URL('../../../migrations/', import.meta.url);

/** The migrations that this program brings, in order. */
export function bundledMigrations(): readonly Migration[] {
  return readdirSync(folder)
    .filter((file) => /^\d{4}_.+\.sql$/.test(file))
    .sort()
    .map(readMigration);
}

function readMigration(file: string): Migration {
  const text = readFileSync(new URL(file, folder), 'utf8');
  const version = Number(file.slice(0, 4));
  const name = file.replace(/\.sql$/, '');
  const checksum = createHash('sha256').update(text).digest('hex');
  const values = `${version}, ${quoteLiteral(name)}, ${quoteLiteral(checksum)}`;
  return {
    version,
    name,
    sql: `${text}\ninsert into observers.migrations (version, name, checksum) values (${values})`,
  };
}

/** Migrations not applied yet. @throws UserError when the database is ahead of this program, or below PostgreSQL 14 */
export async function pendingMigrations(client: pg.ClientBase): Promise<readonly Migration[]> {
  const { rows: server } = await client.query<{ version: number; standby: boolean }>(
    "select current_setting('server_version_num')::int as version, pg_is_in_recovery() as standby",
  );
  if ((server[0]?.version ?? 0) < 140_000) {
    throw new UserError('PostgreSQL 14 or newer is needed.', 1, { code: 'PGO-OLD-SERVER' });
  }
  if (server[0]?.standby) {
    throw new StandbyError();
  }
  const { rows: exists } = await client.query<{ exists: boolean }>(
    "select to_regclass('observers.migrations') is not null as exists",
  );
  const bundled = bundledMigrations();
  if (!exists[0]?.exists) return bundled;
  const { rows: applied } = await client.query<{ version: number }>(
    'select version from observers.migrations order by version',
  );
  const newest = applied.at(-1)?.version ?? 0;
  const known = bundled.at(-1)?.version ?? 0;
  if (newest > known) {
    throw new UserError(
      `This database was migrated to version ${newest} by a newer pg-observers; this one knows version ${known}. Update this program.`,
      1,
      { code: 'PGO-NEWER' },
    );
  }
  return bundled.filter((migration) => !applied.some((row) => row.version === migration.version));
}

/** For a role that may not migrate. @throws UserError when something is pending, or when it may not even look */
export async function requireMigrations(pool: pg.Pool): Promise<void> {
  const client = await pool.connect();
  try {
    const pending = await pendingMigrations(client);
    if (pending.length === 0) return;
    const names = pending.map((migration) => migration.name).join(', ');
    throw new UserError(`This database is not migrated (${names}): run \`pg-observers apply\` first.`, 1, {
      code: 'PGO-NOT-APPLIED',
    });
  } catch (error) {
    if (sqlState(error) !== '42501') throw error;
    throw new UserError(`This role may not use the schema observers: ${describeError(error)}.`, 1, {
      cause: error,
      code: 'PGO-RIGHTS',
    });
  } finally {
    client.release();
  }
}

/** Applies what is pending, in one transaction under an advisory lock. Returns what was applied. */
export async function migrate(pool: pg.Pool): Promise<readonly Migration[]> {
  try {
    return await withTransaction(pool, async (client) => {
      await client.query('select pg_advisory_xact_lock($1, $2)', [lockClass, locks.migration]);
      const pending = await pendingMigrations(client);
      for (const { sql } of pending) await client.query(sql);
      return pending;
    });
  } catch (error) {
    if (sqlState(error) !== '42501') throw error;
    throw new UserError(
      `This role may not migrate the database (${(error as Error).message}). Run \`pg-observers apply\` once as a role that owns the schema \`observers\` or may create it.`,
      1,
      { cause: error, code: 'PGO-RIGHTS' },
    );
  }
}
