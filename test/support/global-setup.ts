import { randomBytes } from 'node:crypto';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { migrate } from '../../src/transport/postgres/migrations.ts';
import { startServer } from './server.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Superuser URL of the run's PostgreSQL server. */
    postgresUrl: string;
    /** The server is ours and goes away with the run. */
    postgresIsEmbedded: boolean;
    /** Name of a database that has our tables, for copies: nobody may connect to it. */
    migratedDatabase: string;
  }
}

/**
 * Nobody crashes the machine under it: tests that crash a server start one of their own, and even what a killed server
 * wrote is with the operating system. Every commit, and each of the checkpoints that making and dropping a database takes,
 * would wait for the disk.
 */
const notDurable = { fsync: 'off', full_page_writes: 'off' };

/** One PostgreSQL for the whole run: the one TEST_DATABASE_URL names (as superuser), or an embedded one. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.TEST_DATABASE_URL;
  if (given) {
    await announce(given);
    project.provide('postgresUrl', given);
    project.provide('postgresIsEmbedded', false);
    const name = await migratedDatabase(given);
    project.provide('migratedDatabase', name);
    return () => onServer(given, `drop database ${name}`);
  }
  // Ctrl-C needs nothing here: vitest answers it with process.exit, on which the server is told to go. SIGHUP (the
  // terminal was closed) would end node without it.
  const onHangUp = () => process.exit(129);
  process.once('SIGHUP', onHangUp);
  const server = await startServer({
    settings: { max_connections: '200', max_prepared_transactions: '50', ...notDurable },
  });
  await announce(server.url);
  project.provide('postgresUrl', server.url);
  project.provide('postgresIsEmbedded', true);
  project.provide('migratedDatabase', await migratedDatabase(server.url));
  return async () => {
    process.off('SIGHUP', onHangUp);
    await server.stop();
  };
}

/** @returns its name */
async function migratedDatabase(server: string): Promise<string> {
  const name = `test_migrated_${randomBytes(4).toString('hex')}`;
  await onServer(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const pool = createPool(url.href, 1);
  await migrate(pool).finally(() => pool.end());
  return name;
}

async function onServer(url: string, sql: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query(sql).finally(() => client.end());
}

async function announce(url: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  const { rows } = await client.query<{ version: string }>(`select current_setting('server_version') as version`);
  await client.end();
  console.log(`PostgreSQL ${rows[0]?.version} at ${new URL(url).host}`);
}
