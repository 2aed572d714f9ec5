import { distance } from 'fastest-levenshtein';
import type pg from 'pg';
import { ConfigError, type ConfigProblem } from '../../domain/errors.ts';
import type { Config, TableSource } from '../../domain/rules.ts';
import { type CaptureFunction, captureFunction, whereProbe } from './capture-sql.ts';
import { readTableNames, readTableShape, type TableShape } from './catalog.ts';
import { sqlState } from './failures.ts';

/** A source that can be captured, and what that takes. */
export interface DesiredCapture {
  readonly source: TableSource;
  readonly table: TableShape;
  readonly functions: readonly CaptureFunction[];
}

/**
 * The table sources of the file, looked up in the database.
 * @throws ConfigError with everything that is wrong with them
 */
export async function desiredCapture(client: pg.ClientBase, config: Config): Promise<DesiredCapture[]> {
  const problems: ConfigProblem[] = [];
  const desired: DesiredCapture[] = [];
  for (const source of config.sources.values()) {
    if (source.kind !== 'table') continue;
    const table = await readTableShape(client, source.schema, source.table);
    const found = table === null ? await unknownTable(client, source) : tableProblems(source, table);
    const where = table !== null && found.length === 0 ? await whereProblem(client, source, table) : null;
    for (const [message, hint] of where === null ? found : [where]) {
      problems.push({
        file: config.file ?? 'config',
        ...source.position,
        message: `source ${source.name}: ${message}`,
        hint,
      });
    }
    if (table !== null && found.length === 0) {
      desired.push({ source, table, functions: source.operations.map((op) => captureFunction(source, op, table)) });
    }
  }
  if (problems.length > 0) throw new ConfigError(problems, 'PGO-SOURCE');
  return desired;
}

type Complaint = readonly [message: string, hint: string | null];

async function unknownTable(client: pg.ClientBase, source: TableSource): Promise<Complaint[]> {
  const name = `${source.schema}.${source.table}`;
  const near = nearest(name, await readTableNames(client));
  return [[`there is no table ${name} in this database`, near === null ? null : `did you mean ${near}?`]];
}

function tableProblems(source: TableSource, table: TableShape): Complaint[] {
  const name = `${source.schema}.${source.table}`;
  if (table.kind !== 'r' && table.kind !== 'p') {
    const what = { v: 'a view', m: 'a materialized view', f: 'a foreign table' }[table.kind] ?? 'not a table';
    return [[`${name} is ${what}; only tables can be captured`, 'observe the tables behind it']];
  }
  const columns = table.columns.map((column) => column.name);
  const named = [...(source.columns ?? []), ...(source.tenant === null ? [] : [source.tenant])];
  return named
    .filter((column) => !columns.includes(column))
    .map((column): Complaint => {
      const near = nearest(column, columns);
      return [`${name} has no column ${column}`, near === null ? null : `did you mean ${near}?`];
    });
}

async function whereProblem(client: pg.ClientBase, source: TableSource, table: TableShape): Promise<Complaint | null> {
  if (source.where === null) return null;
  await client.query('savepoint probe');
  try {
    await client.query(whereProbe(source, table));
    return null;
  } catch (error) {
    if (sqlState(error) === undefined) throw error;
    // A role that only runs may have no right to read the table; the trigger runs as the one that applied.
    if (sqlState(error) === '42501') return null;
    return [
      `where: ${(error as Error).message}`,
      'SQL over new, old and the columns; qualify functions of your own with their schema',
    ];
  } finally {
    await client.query('rollback to savepoint probe');
  }
}

function nearest(name: string, candidates: readonly string[]): string | null {
  const ranked = candidates.map((c) => ({ c, d: distance(name, c) })).sort((a, b) => a.d - b.d)[0];
  return ranked !== undefined && ranked.d <= Math.max(2, name.length / 3) ? ranked.c : null;
}
