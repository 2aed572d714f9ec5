/**
 * Existing rows become events, chunk by chunk. Each chunk is a short transaction that reads rows as they are then, writes
 * their events and moves the cursor; it locks no row of the table, so writers wait for nothing.
 */

import type pg from 'pg';
import { UserError } from '../../domain/errors.ts';
import type { TableSource } from '../../domain/rules.ts';
import { chunkQuery } from './backfill-sql.ts';
import { readTableShape, type TableShape } from './catalog.ts';
import { readCheckpoint } from './checkpoint.ts';
import { withTransaction } from './connection.ts';
import { describeError, sqlState } from './failures.ts';
import { pinnedSettings } from './pinned-settings.ts';

export interface BackfillRequested {
  /** SQL over the columns; null: all rows. */
  readonly condition: string | null;
  /** Rows; null: as fast as they can be written. */
  readonly perSecond: number | null;
}

export interface Backfill {
  readonly source: string;
  readonly condition: string | null;
  readonly primary_key: readonly string[];
  readonly per_second: number | null;
  readonly cursor: readonly string[] | null;
  readonly version: string;
  readonly rows: string;
  readonly events: string;
  readonly estimate: string;
  readonly started_at: string;
  readonly finished_at: string | null;
}

const columns = `source, condition, primary_key, per_second, cursor, version::text, rows::text, events::text, estimate::text, started_at,
  finished_at`;

export async function readBackfill(pool: pg.Pool, source: string): Promise<Backfill | null> {
  const { rows } = await pool.query<Backfill>(`select ${columns} from observers.backfills where source = $1`, [source]);
  return rows[0] ?? null;
}

/** By source. */
export async function listBackfills(pool: pg.Pool): Promise<readonly Backfill[]> {
  const { rows } = await pool.query<Backfill>(`select ${columns} from observers.backfills order by source`);
  return rows;
}

/**
 * The table as it is now.
 * @throws UserError when its rows can't be read in the order of a key, or the database is not ours to fill
 */
export async function readBackfillTable(
  pool: pg.Pool,
  environment: string | null,
  source: TableSource,
): Promise<TableShape> {
  await readCheckpoint(pool, environment);
  const name = `${source.schema}.${source.table}`;
  const table = await withTransaction(pool, async (client) => {
    // Types are named as the chunk's statement will read their names.
    await pin(client, { search_path: 'pg_catalog, pg_temp' });
    return readTableShape(client, source.schema, source.table);
  });
  if (table === null) throw new UserError(`There is no table ${name} in this database.`);
  if (table.primaryKey.length === 0) {
    throw new UserError(
      `${name} has no primary key: without one its rows have no order in which a backfill could be interrupted, or read each of them once. Add one, or emit what you need with observers.emit.`,
    );
  }
  return table;
}

/** Takes the place of the last one of this source. */
export async function beginBackfill(
  pool: pg.Pool,
  source: TableSource,
  table: TableShape,
  { condition, perSecond }: BackfillRequested,
): Promise<Backfill> {
  const { rows } = await pool.query<Backfill>(
    `insert into observers.backfills as b (source, table_schema, table_name, condition, primary_key, per_second, estimate)
     select $1, $2, $3, $4, $5::text[], $6::float8, coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
     from pg_class c where c.oid = any ($7::oid[]) and c.relkind = 'r'
     on conflict (source) do update
     set table_schema = excluded.table_schema, table_name = excluded.table_name, condition = excluded.condition,
         primary_key = excluded.primary_key, per_second = excluded.per_second, estimate = excluded.estimate, cursor = null,
         version = b.version + 1, rows = 0, events = 0, started_at = now(), updated_at = now(), finished_at = null
     returning ${columns}`,
    [source.name, table.schema, table.name, condition, table.primaryKey, perSecond, table.family.map(({ oid }) => oid)],
  );
  const [begun] = rows;
  if (begun === undefined) throw new Error('an insert that returns nothing');
  return begun;
}

/**
 * Writes the events of the next chunk.
 * @returns how far it is then; null when another process moved it: nothing was written
 * @throws UserError when a condition is wrong
 */
export async function writeChunk(
  pool: pg.Pool,
  source: TableSource,
  table: TableShape,
  run: Backfill,
  most: number,
): Promise<Backfill | null> {
  return withTransaction(pool, async (client) => {
    const held = await client.query(
      'select from observers.backfills where source = $1 and version = $2 and finished_at is null for update',
      [run.source, run.version],
    );
    if (held.rowCount === 0) return null;
    // Planned for its cursor: a plan for any would sort the table.
    await pin(client, { ...pinnedSettings(source, 'insert', table), plan_cache_mode: 'auto' });
    const chunk = await readAndWrite(client, source, table, run, most);
    if (chunk.events > 0 && source.notify) await client.query('select observers.wake()');
    const { rows } = await client.query<Backfill>(
      `update observers.backfills
       set cursor = coalesce($2::text[], cursor), rows = rows + $3, events = events + $4, version = version + 1, updated_at = now(),
           finished_at = case when $5::boolean then now() end
       where source = $1 returning ${columns}`,
      [run.source, chunk.last, chunk.rows, chunk.events, chunk.rows < most],
    );
    return rows[0] ?? null;
  });
}

interface Chunk {
  readonly rows: number;
  readonly events: number;
  readonly last: readonly string[] | null;
}

async function readAndWrite(
  client: pg.PoolClient,
  source: TableSource,
  table: TableShape,
  run: Backfill,
  most: number,
): Promise<Chunk> {
  try {
    const { condition, cursor } = run;
    const text = chunkQuery(source, table, { condition, first: cursor === null, most });
    const { rows } = await client.query<Chunk>(text, cursor === null ? [] : [cursor]);
    return rows[0] ?? { rows: 0, events: 0, last: null };
  } catch (error) {
    // Class 42 is what a person wrote, 22 what a value did to it. Rights are told of elsewhere.
    const state = sqlState(error) ?? '';
    if (!/^(42|22)/.test(state) || state === '42501') throw error;
    throw new UserError(
      `A chunk could not be read: ${describeError(error)}. Is a condition wrong (functions of your own need their schema), or has the table changed? Nothing of the chunk was written.`,
      1,
      { cause: error },
    );
  }
}

async function pin(client: pg.PoolClient, settings: Readonly<Record<string, string>>): Promise<void> {
  const entries = Object.entries(settings);
  await client.query('select set_config(s.name, s.value, true) from unnest($1::text[], $2::text[]) as s(name, value)', [
    entries.map(([name]) => name),
    entries.map(([, value]) => value),
  ]);
}
