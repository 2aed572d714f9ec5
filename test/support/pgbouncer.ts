import { accessSync, constants } from 'node:fs';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { serviceAccount } from '../../src/embedded/service-account.ts';
import { startProcess } from './processes.ts';

const program = [
  '/usr/sbin/pgbouncer',
  '/usr/bin/pgbouncer',
  '/usr/local/bin/pgbouncer',
  '/opt/homebrew/bin/pgbouncer',
].find((path) => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
});

/** Why tests with a real PgBouncer can't run here, or null. `.ci/run` installs it where it may. */
export const noPgbouncer = program === undefined ? 'PgBouncer is not installed (apt-get install pgbouncer)' : null;

export interface PgbouncerOptions {
  readonly poolMode?: 'transaction' | 'session' | 'statement';
  /** Further lines of pgbouncer.ini. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A PgBouncer before this database, ended with the test. @returns the URL through it */
export async function startPgbouncer(database: string, options: PgbouncerOptions = {}): Promise<string> {
  if (program === undefined) throw new Error(noPgbouncer ?? '');
  const target = new URL(database);
  const [name, port] = [target.pathname.slice(1), await freePort()];
  const folder = await mkdtemp(join(tmpdir(), 'pg-observers-pgbouncer-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    unix_socket_dir: '',
    // Whoever comes is let in as the user of the server's URL.
    auth_type: 'any',
    pool_mode: options.poolMode ?? 'transaction',
    default_pool_size: '8',
    server_idle_timeout: '5',
    ...options.settings,
  };
  const login = `user=${decodeURIComponent(target.username)}${target.password === '' ? '' : ` password='${decodeURIComponent(target.password)}'`}`;
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${value}`);
  const file = join(folder, 'pgbouncer.ini');
  await writeFile(
    file,
    `[databases]\n${name} = host=${target.hostname} port=${target.port || '5432'} ${login}\n[pgbouncer]\n${lines.join('\n')}\n`,
  );
  // It refuses to run as root.
  const account = await serviceAccount();
  if (account !== null) for (const path of [folder, file]) await chown(path, account.uid, account.gid);
  const child = startProcess(program, [...(account === null ? [] : ['-u', 'postgres']), file]);
  await child.waitForLine(/process up/);
  const url = new URL(database);
  url.port = String(port);
  url.hostname = '127.0.0.1';
  return url.href;
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
