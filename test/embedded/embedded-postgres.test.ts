import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, expect, test } from 'vitest';
import { UserError } from '../../src/domain/errors.ts';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../../src/embedded/embedded-postgres.ts';
import { birthOf } from '../../src/embedded/process-identity.ts';
import { startScript } from '../support/processes.ts';

const servers: EmbeddedPostgres[] = [];
const directories: string[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
  await Promise.all(directories.splice(0).map((path) => rm(path, { recursive: true, force: true })));
});

async function start(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres(options);
  servers.push(server);
  return server;
}

async function directory(): Promise<string> {
  // With a blank, and not named like the temporary ones that are swept up.
  const parent = await mkdtemp(join(tmpdir(), 'embedded test-'));
  directories.push(parent);
  await chmod(parent, 0o755);
  return join(parent, 'data');
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function postmasterOf(dataDir: string): Promise<number> {
  return Number((await readFile(join(dataDir, 'cluster/postmaster.pid'), 'utf8')).split('\n')[0]);
}

/** A process of its own that starts a server and lives until it is killed. */
async function startElsewhere(options: EmbeddedPostgresOptions) {
  const elsewhere = startScript(`
    import { startEmbeddedPostgres } from './src/embedded/embedded-postgres.ts';
    const server = await startEmbeddedPostgres(${JSON.stringify(options)});
    console.log('STARTED ' + JSON.stringify({ url: server.url, dataDir: server.dataDir }));
    setInterval(() => {}, 1_000);
  `);
  const [, json = ''] = await elsewhere.waitForLine(/^STARTED (.*)/);
  return { process: elsewhere, ...(JSON.parse(json) as { url: string; dataDir: string }) };
}

test('a temporary server runs durably on the loopback only, and leaves nothing', async () => {
  const server = await start({ settings: { max_connections: '17' } });
  const postmaster = await postmasterOf(server.dataDir);
  const settings = await query(
    server.url,
    `select name, setting from pg_settings where name in ('fsync', 'listen_addresses', 'max_connections', 'server_encoding', 'unix_socket_directories')`,
  );
  expect(Object.fromEntries(settings.map(({ name, setting }) => [name, setting]))).toEqual({
    fsync: 'on',
    listen_addresses: '127.0.0.1',
    max_connections: '17',
    server_encoding: 'UTF8',
    unix_socket_directories: '',
  });
  const stranger = new URL(server.url);
  stranger.password = 'password';
  await expect(query(stranger.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });

  await Promise.all([server.stop(), server.stop()]);
  expect(await birthOf(postmaster)).toBeNull();
  expect(existsSync(server.dataDir)).toBe(false);
  expect(server.log()).toContain('database system is shut down');
});

test('a persistent directory keeps data and password', async () => {
  const dataDir = await directory();
  const first = await start({ dataDir });
  await query(first.url, 'create table kept as select 42 as answer');
  await first.stop();
  const second = await start({ dataDir });
  expect(await query(second.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
  expect(new URL(second.url).password).toBe(new URL(first.url).password);
  expect((await stat(join(dataDir, 'password'))).mode & 0o777).toBe(0o600);
});

test('persistent: false removes what was put into a given directory, and nothing else', async () => {
  const dataDir = await directory();
  await mkdir(dataDir);
  await writeFile(join(dataDir, 'notes.txt'), 'mine');
  await (await start({ dataDir, persistent: false })).stop();
  expect(await readFile(join(dataDir, 'notes.txt'), 'utf8')).toBe('mine');
  expect(existsSync(join(dataDir, 'cluster'))).toBe(false);
});

test('the orphan of a killed process is stopped, and its directory taken over with every commit', async () => {
  const dataDir = await directory();
  const elsewhere = await startElsewhere({ dataDir });
  await query(elsewhere.url, 'create table kept as select 42 as answer');
  const orphan = await postmasterOf(dataDir);
  await elsewhere.process.kill('SIGKILL');
  expect(await birthOf(orphan)).not.toBeNull();

  const server = await start({ dataDir });
  expect(await birthOf(orphan)).toBeNull();
  expect(await query(server.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
});

test('the temporary directory and server of a killed process are removed by the next start', async () => {
  const elsewhere = await startElsewhere({});
  const orphan = await postmasterOf(elsewhere.dataDir);
  await elsewhere.process.kill('SIGKILL');
  await start();
  expect(existsSync(elsewhere.dataDir)).toBe(false);
  expect(await birthOf(orphan)).toBeNull();
});

test('process.exit without stop() still tells the server to go', async () => {
  const dataDir = await directory();
  const script = startScript(`
    import { startEmbeddedPostgres } from './src/embedded/embedded-postgres.ts';
    import { readFileSync } from 'node:fs';
    const server = await startEmbeddedPostgres(${JSON.stringify({ dataDir })});
    console.log('PID ' + readFileSync(server.dataDir + '/cluster/postmaster.pid', 'utf8').split('\\n')[0]);
    process.exit(0);
  `);
  const [, pid = ''] = await script.waitForLine(/^PID (\d+)/);
  await script.exited;
  await expect.poll(() => birthOf(Number(pid)), { timeout: 10_000 }).toBeNull();
});

test('a directory in use is refused, naming the process', async () => {
  const dataDir = await directory();
  await start({ dataDir });
  const refusal = await startEmbeddedPostgres({ dataDir }).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(UserError);
  expect((refusal as UserError).message).toContain(`in use by process ${process.pid}.`);
});

test('a postmaster.pid that names some other living process does not keep the server from starting', async () => {
  const dataDir = await directory();
  await (await start({ dataDir })).stop();
  // Like after a reboot: the number now belongs to something else.
  await writeFile(join(dataDir, 'cluster/postmaster.pid'), `${process.pid}\n`);
  const server = await start({ dataDir });
  expect(await query(server.url, 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('data of another major version is refused', async () => {
  const dataDir = await directory();
  await mkdir(join(dataDir, 'cluster'), { recursive: true });
  await writeFile(join(dataDir, 'cluster/PG_VERSION'), '14\n');
  await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(/was written by PostgreSQL 14, .* is 18/);
});

test('programs that are elsewhere are used, and a directory without them is refused', async () => {
  const programs = await directory();
  await expect(startEmbeddedPostgres({ programs })).rejects.toThrow(`PostgreSQL can't be run from ${programs}: `);
  await mkdir(programs);
  const script = (text: string) => writeFile(join(programs, 'postgres'), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  await script('echo "pgbouncer 1.18"');
  await expect(startEmbeddedPostgres({ programs })).rejects.toThrow('it says of itself: pgbouncer 1.18');
  await script('echo "postgres (PostgreSQL) 14.23"');
  const dataDir = await directory();
  await mkdir(join(dataDir, 'cluster'), { recursive: true });
  await writeFile(join(dataDir, 'cluster/PG_VERSION'), '18\n');
  await expect(startEmbeddedPostgres({ programs, dataDir })).rejects.toThrow(
    'written by PostgreSQL 18, and the embedded one is 14',
  );
});

test('a server that does not start says why, and leaves nothing', async () => {
  const dataDir = await directory();
  const failure = await startEmbeddedPostgres({ dataDir, settings: { max_connectoins: '1' } }).catch(
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(UserError);
  expect((failure as UserError).message).toContain('unrecognized configuration parameter "max_connectoins"');
  expect(existsSync(join(dataDir, 'owner.json'))).toBe(false);
});

test('a port that is taken is refused', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const address = other.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  try {
    await expect(startEmbeddedPostgres({ port })).rejects.toThrow(`Port ${port} on 127.0.0.1 is already in use`);
  } finally {
    other.close();
  }
});

test.runIf(process.getuid?.() === 0)(
  'as root, a directory that the user "postgres" may not enter is refused',
  async () => {
    const parent = await mkdtemp(join(tmpdir(), 'embedded test-'));
    directories.push(parent); // mkdtemp makes it 0700, like /root
    const dataDir = join(parent, 'data');
    await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(`may not enter ${parent}`);
  },
);

test.each([
  ['at once', 0],
  ['while initdb runs', 300],
])('a start that is given up %s leaves nothing', async (_when, afterMs) => {
  const dataDir = await directory();
  const stop = new AbortController();
  const starting = startEmbeddedPostgres({ dataDir, persistent: false, signal: stop.signal });
  setTimeout(() => stop.abort(), afterMs);
  await expect(starting).rejects.toMatchObject({ name: 'AbortError' });
  expect(existsSync(dataDir)).toBe(false);
});

test('an immediate stop hurries a fast one', async () => {
  const server = await start();
  const postmaster = await postmasterOf(server.dataDir);
  const fast = server.stop();
  await server.stop('immediate');
  expect(await birthOf(postmaster)).toBeNull();
  expect(existsSync(server.dataDir)).toBe(false);
  await fast;
});
