import pg from 'pg';
import { startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.ts';

export interface BenchDatabase {
  readonly url: string;
  readonly version: string;
  /** Drops the database, and stops the server if it is ours. */
  close(): Promise<void>;
}

// Of this run alone: two at a time must not drop each other's.
const name = `pg_observers_bench_${process.pid}`;

/** A fresh database on the server of BENCH_DATABASE_URL, or on an embedded one. Flushes to disk are on. */
export async function openBenchDatabase(): Promise<BenchDatabase> {
  const given = process.env.BENCH_DATABASE_URL;
  const embedded = given === undefined ? await startEmbeddedPostgres({ settings: { max_connections: '200' } }) : null;
  const admin = new pg.Client(given ?? embedded?.url);
  await admin.connect();
  await admin.query(`drop database if exists ${name} with (force)`);
  await admin.query(`create database ${name}`);
  const { rows } = await admin.query<{ version: string }>("select current_setting('server_version') as version");
  const url = new URL(given ?? embedded?.url ?? '');
  url.pathname = `/${name}`;
  return {
    url: url.href,
    version: rows[0]?.version ?? '',
    close: async () => {
      await admin.query(`drop database if exists ${name} with (force)`);
      await admin.end();
      await embedded?.stop();
    },
  };
}
