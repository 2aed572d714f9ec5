import { spawn } from 'node:child_process';
import { access, chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { serviceAccount } from '../../../src/embedded/service-account.ts';
import { freePort } from '../../support/free-port.ts';

export interface PgBouncer {
  /** The same database through the pooler. */
  through(url: string): string;
  /** The end of what it said. */
  log(): string;
  /** As after a crash of the pooler: every client and every server connection is cut, and a new one listens at once. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Debian puts it where only root's PATH looks. */
const places = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];

/** Why it can't be had on this machine; null when it can. */
export async function whyNoPgBouncer(): Promise<string | null> {
  return (await findProgram()) === null
    ? 'there is no pgbouncer on this machine (Debian: apt-get install pgbouncer)'
    : null;
}

/**
 * PgBouncer in transaction mode before the server of the URL, on a free port, with its files in a new folder of `directory`.
 * It refuses to run as root; then it runs as the user that PostgreSQL runs as.
 *
 * @param settings of the section [pgbouncer], beside ours
 * @throws Error with its log when it does not start
 */
export async function startPgBouncer(
  url: string,
  directory: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<PgBouncer> {
  const program = await findProgram();
  if (program === null) throw new Error('there is no pgbouncer on this machine');
  const account = await serviceAccount();
  const port = await freePort();
  const folder = join(directory, 'pgbouncer');
  await mkdir(folder, { recursive: true });
  const file = join(folder, 'pgbouncer.ini');
  await writeFile(file, configuration(new URL(url), port, settings), { mode: 0o600 });
  if (account !== null) for (const path of [folder, file]) await chown(path, account.uid, account.gid);
  await chmod(folder, 0o755);

  let log = '';
  const start = async () => {
    const child = spawn(program, [file], { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], ...(account ?? {}) });
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    child.once('error', (error) => {
      log += `${error.message}\n`;
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        log = (log + text).slice(-65_536);
      });
    }
    const up = await Promise.race([listening(port), ended.then(() => false)]);
    if (!up) throw new Error(`pgbouncer did not start:\n${log}`);
    return { child, ended };
  };
  let process = await start();
  const kill = async () => {
    process.child.kill('SIGKILL');
    await process.ended;
  };
  return {
    through: (direct) => {
      const led = new URL(direct);
      led.hostname = '127.0.0.1';
      led.port = String(port);
      return led.href;
    },
    log: () => log,
    restart: async () => {
      await kill();
      process = await start();
    },
    stop: kill,
  };
}

async function findProgram(): Promise<string | null> {
  for (const place of places) {
    const path = join(place, 'pgbouncer');
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return null;
}

/** `auth_type = any`: nobody but this machine can reach it, and it logs in at the server by itself. */
function configuration(server: URL, port: number, settings: Readonly<Record<string, string>>): string {
  const login = [
    `host=${server.hostname}`,
    `port=${server.port}`,
    `user=${quoted(decodeURIComponent(server.username))}`,
    ...(server.password === '' ? [] : [`password=${quoted(decodeURIComponent(server.password))}`]),
  ];
  const section = {
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    unix_socket_dir: '',
    auth_type: 'any',
    pool_mode: 'transaction',
    // Fewer than its clients have connections: they share them, from one transaction to the next.
    default_pool_size: '6',
    max_client_conn: '200',
    // Without it PgBouncer refuses whoever sets anything at connecting; with it, what was set is not in force.
    ignore_startup_parameters: 'options,extra_float_digits',
    ...settings,
  };
  const lines = Object.entries(section).map(([name, value]) => `${name} = ${value}`);
  return `[databases]\n* = ${login.join(' ')}\n\n[pgbouncer]\n${lines.join('\n')}\n`;
}

const quoted = (value: string) => `'${value.replaceAll("'", "''")}'`;

async function listening(port: number): Promise<true> {
  for (;;) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = createConnection(port, '127.0.0.1');
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (open) return true;
    await sleep(20);
  }
}
