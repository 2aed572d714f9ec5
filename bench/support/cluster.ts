import { statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.ts';
import { familyProcessorMs, parentOf } from './processor-time.ts';

export interface Cluster {
  readonly version: string;
  /** Of all the server's processes, so far. */
  processorMs(): number;
  /** A new, empty database: the contenders of a case share it. */
  createDatabase(label: string): Promise<BenchDatabase>;
  stop(): Promise<void>;
}

export interface BenchDatabase {
  readonly url: string;
  query<Row extends pg.QueryResultRow = Record<string, unknown>>(
    sql: string,
    params?: readonly unknown[],
  ): Promise<pg.QueryResult<Row>>;
  connect(): Promise<pg.Client>;
  pool(size: number): pg.Pool;
  drop(): Promise<void>;
}

/**
 * What an operator would set on such a machine; everything that decides about durability is at its default, on. The large
 * max_wal_size keeps checkpoints of one contender out of the minutes of another.
 */
const settings = {
  max_connections: '300',
  shared_buffers: '1GB',
  max_wal_size: '8GB',
  checkpoint_timeout: '30min',
};

/** With BENCH_STATEMENTS set, for looking into where time goes; it costs a few per cent. */
const statistics = { shared_preload_libraries: 'pg_stat_statements', 'pg_stat_statements.track': 'all' };

/**
 * The server of BENCH_DATABASE_URL (a superuser's), or one of our own, on a disk.
 *
 * @param options.flushing false: one that does not flush will do, as nobody reads the figures
 */
export async function startCluster({ flushing = true } = {}): Promise<Cluster> {
  const given = process.env.BENCH_DATABASE_URL;
  if (given !== undefined) return openCluster(given, async () => {}, flushing);
  await refuseMemoryDisk(tmpdir());
  const server = await startEmbeddedPostgres({
    settings: { ...settings, ...(process.env.BENCH_STATEMENTS !== undefined && statistics) },
  });
  return openCluster(server.url, () => server.stop(), flushing);
}

/** A flush to memory costs nothing, and every figure here is about flushes. */
async function refuseMemoryDisk(folder: string): Promise<void> {
  const tmpfs = 0x01021994;
  if ((await statfs(folder)).type !== tmpfs) return;
  throw new Error(`${folder} is in memory: set TMPDIR to a folder on a disk, or BENCH_DATABASE_URL to a server`);
}

async function openCluster(url: string, stop: () => Promise<void>, flushing: boolean): Promise<Cluster> {
  const admin = new pg.Client(url);
  await admin.connect();
  const { rows } = await admin.query<{ version: string; fsync: string; pid: number }>(
    `select current_setting('server_version') as version, current_setting('fsync') as fsync, pg_backend_pid() as pid`,
  );
  const [server] = rows;
  if (server === undefined) throw new Error('that server does not say what it is');
  if (flushing && server.fsync !== 'on') throw new Error('fsync is off on that server: its figures would mean nothing');
  const postmaster = parentOf(server.pid);
  let made = 0;
  return {
    version: server.version,
    processorMs: () => familyProcessorMs(postmaster),
    createDatabase: async (label) => {
      // Of this run alone: two at a time must not drop each other's.
      const name = `pg_observers_bench_${process.pid}_${label}_${made++}`;
      await admin.query(`create database ${name}`);
      return openDatabase(urlOf(url, name), async () => {
        await admin.query(`drop database if exists ${name} with (force)`);
      });
    },
    stop: async () => {
      await admin.end();
      await stop();
    },
  };
}

function openDatabase(url: string, drop: () => Promise<void>): BenchDatabase {
  const poolOf = (max: number) => {
    const pool = new pg.Pool({ connectionString: url, max });
    // end() says good-bye and does not wait: the database may be dropped before its connections are gone.
    pool.on('error', () => {});
    return pool;
  };
  const pool = poolOf(2);
  return {
    url,
    pool: poolOf,
    query: (sql, params = []) => pool.query(sql, [...params]),
    connect: async () => {
      const client = new pg.Client(url);
      client.on('error', () => {});
      await client.connect();
      return client;
    },
    drop: async () => {
      await pool.end();
      await drop();
    },
  };
}

function urlOf(url: string, database: string): string {
  const named = new URL(url);
  named.pathname = `/${database}`;
  return named.href;
}
