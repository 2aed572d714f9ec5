import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, inject, onTestFinished, type RunnerTask, TestRunner } from 'vitest';

export interface TestDatabase {
  readonly name: string;
  readonly url: string;
  /** A new pool, ended by drop(). */
  pool(config?: pg.PoolConfig): pg.Pool;
  /** On a pool of the database's own. */
  query<Row extends pg.QueryResultRow = Record<string, unknown>>(
    sql: string,
    params?: readonly unknown[],
  ): Promise<pg.QueryResult<Row>>;
  /** Ends the pools and drops the database, or keeps it and prints its name when a test failed. Idempotent. */
  drop(): Promise<void>;
}

export interface TestDatabaseOptions {
  /** Name of a database to copy, on the same server; nobody may be connected to it. */
  readonly template?: string;
}

/**
 * A new, empty database on the run's server.
 *
 * At the top level of a test file (`const database = await createDatabase('capture')`) and inside a test it is dropped by
 * itself; in a beforeAll it is not (vitest takes no hooks there): call drop() in afterAll.
 *
 * @param label for the name: [a-z0-9_]
 */
export async function createDatabase(label: string, options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const failed = failureCheck();
  const name = `test_${label.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_')}_${randomBytes(4).toString('hex')}`;
  const template = options.template === undefined ? '' : ` TEMPLATE ${pg.escapeIdentifier(options.template)}`;
  await onServer(`CREATE DATABASE ${pg.escapeIdentifier(name)}${template}`);

  const url = urlOf(name);
  const pools: pg.Pool[] = [];
  const pool = (config: pg.PoolConfig = {}) => {
    const created = new pg.Pool({ connectionString: url, max: 4, ...config });
    // Tests terminate backends; an idle client's error without a listener would end the worker.
    created.on('error', () => undefined);
    pools.push(created);
    return created;
  };
  let own: pg.Pool | null = null;
  let dropping: Promise<void> | null = null;
  const dropOnce = async () => {
    await Promise.all(pools.map(endPool));
    if (failed()) keep(name, url);
    else await onServer(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`);
  };
  const drop = () => {
    dropping ??= dropOnce();
    return dropping;
  };
  if (TestRunner.getCurrentTest() === undefined) afterAll(drop);
  else onTestFinished(drop);
  return {
    name,
    url,
    pool,
    query: (sql, params = []) => {
      own ??= pool();
      return own.query(sql, [...params]);
    },
    drop,
  };
}

/**
 * A database with our tables in it, and nothing else: a copy of the one that the run has migrated at its beginning. To migrate is
 * twenty files of SQL, which takes the server several times as long.
 */
export function createMigratedDatabase(label: string): Promise<TestDatabase> {
  return createDatabase(label, { template: inject('migratedDatabase') });
}

/** URL of another database on the run's server, as superuser. */
export function urlOf(database: string): string {
  const url = new URL(inject('postgresUrl'));
  url.pathname = `/${encodeURIComponent(database)}`;
  return url.href;
}

/** One statement as superuser, in no database of a test: for roles, which belong to the whole server. */
export async function onServer(sql: string): Promise<void> {
  const client = new pg.Client(inject('postgresUrl'));
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

async function endPool(pool: pg.Pool): Promise<void> {
  if (!pool.ended) await pool.end();
}

function keep(name: string, url: string): void {
  const how = inject('postgresIsEmbedded')
    ? 'gone with the embedded server at the end of this run; set TEST_DATABASE_URL to a server of yours to look into it'
    : `look: psql '${url}'`;
  console.error(`A test failed: database ${name} is kept (${how}).`);
}

/** Whether the test we are called from failed, or, outside of a test, any test of the file. Asked later. */
function failureCheck(): () => boolean {
  const task: RunnerTask | undefined = TestRunner.getCurrentTest() ?? TestRunner.getCurrentSuite().file;
  return () => task !== undefined && hasFailed(task);
}

function hasFailed(task: RunnerTask): boolean {
  return task.result?.state === 'fail' || ('tasks' in task && task.tasks.some(hasFailed));
}
