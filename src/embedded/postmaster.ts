import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { chmod, chown, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { UserError } from '../domain/errors.ts';
import type { Binaries } from './binaries.ts';
import type { DataDirectory } from './data-directory.ts';
import type { ServiceAccount } from './service-account.ts';

/** What every program of PostgreSQL is run with. */
export interface Runtime {
  readonly binaries: Binaries;
  readonly account: ServiceAccount | null;
  readonly log: Log;
}

export interface Log {
  append(text: string): void;
  text(): string;
}

/** The last `limit` characters of what was appended. */
export function tailLog(limit = 65_536): Log {
  let kept = '';
  return {
    append: (text) => {
      kept = (kept + text).slice(-limit);
    },
    text: () => kept,
  };
}

/** From here on there is PostgreSQL's own C.UTF-8: the operating system's is missing on older macOS and differs between systems. */
const builtinLocales = 17;

/** Makes the cluster. @throws UserError with initdb's output, or the signal's reason */
export async function createCluster(
  runtime: Runtime,
  directory: DataDirectory,
  signal: AbortSignal | undefined,
): Promise<void> {
  // Made aside and renamed: a process killed in between leaves no half cluster behind.
  const draft = `${directory.cluster}.new`;
  const passwordFile = `${draft}/password`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(`${draft}/cluster`, { recursive: true });
  await writeFile(passwordFile, `${directory.password}\n`, { mode: 0o600 });
  await handOver(runtime.account, draft, `${draft}/cluster`, passwordFile);
  const child = launch(runtime, runtime.binaries.initdb, [
    `--pgdata=${draft}/cluster`,
    `--pwfile=${passwordFile}`,
    '--username=postgres',
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    ...(Number(runtime.binaries.major) >= builtinLocales
      ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8']
      : []),
  ]);
  const giveUp = () => killGroup(child);
  signal?.addEventListener('abort', giveUp, { once: true });
  if (signal?.aborted) giveUp();
  const end = await endOf(child).finally(() => signal?.removeEventListener('abort', giveUp));
  signal?.throwIfAborted();
  if (end !== 'status 0') throw failure(runtime, `initdb ended with ${end}`);
  await rename(`${draft}/cluster`, directory.cluster);
  await rm(draft, { recursive: true, force: true });
}

export interface Postmaster {
  /** Resolves when the process has ended. Idempotent; `immediate` also hurries a stop that is on its way. */
  stop(how: 'fast' | 'immediate'): Promise<void>;
}

/** @throws UserError with the server's log when it ends before it accepts connections */
export async function startPostmaster(
  runtime: Runtime,
  directory: DataDirectory,
  settings: Readonly<Record<string, string>>,
): Promise<Postmaster> {
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const child = launch(runtime, runtime.binaries.postgres, ['-D', directory.cluster, ...flags]);
  const end = endOf(child);
  // Without stop() (process.exit in the middle of something) the server is at least told to go; the next start sweeps up.
  const onExit = () => child.kill('SIGINT');
  process.once('exit', onExit);
  const forget = () => process.off('exit', onExit);
  end.then(forget, forget);
  const ready = new Promise<null>((resolve) => {
    let tail = '';
    child.stderr?.on('data', (text: string) => {
      tail = (tail + text).slice(-4096);
      if (/database system is ready to accept (read-only )?connections/.test(tail)) resolve(null);
    });
  });
  const earlyEnd = await Promise.race([ready, end]);
  if (earlyEnd !== null) throw failure(runtime, `the server ended with ${earlyEnd}`);
  let stopping: Promise<void> | null = null;
  return {
    stop: (how) => {
      stopping ??= shutDown(child, end);
      if (how === 'immediate') child.kill('SIGQUIT');
      return stopping;
    },
  };
}

async function shutDown(child: ChildProcess, end: Promise<string>): Promise<void> {
  // Fast, then immediate, then by force: https://www.postgresql.org/docs/18/server-shutdown.html
  const timers = [setTimeout(() => child.kill('SIGQUIT'), 20_000), setTimeout(() => child.kill('SIGKILL'), 25_000)];
  child.kill('SIGINT');
  await end;
  timers.forEach(clearTimeout);
}

function launch(runtime: Runtime, program: string, args: readonly string[]): ChildProcess {
  const environment = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name));
  const options: SpawnOptions = {
    // Ours may be a directory the account can't enter, and initdb insists on knowing where it is.
    cwd: '/',
    // The server announces itself in the words of LC_MESSAGES.
    env: { ...Object.fromEntries(environment), LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: Ctrl-C would otherwise shut the server down before we have drained.
    detached: true,
    ...(runtime.account ?? {}),
  };
  const child = spawn(program, args, options);
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => runtime.log.append(text));
  }
  return child;
}

/** With initdb goes the server that it runs to fill the cluster: alone it would live on and write into the directory. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return; // could not be started
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // has just ended by itself
  }
}

/** "status 0", "signal SIGKILL"; rejects when the program could not be started at all. */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('close', (status, signal) => resolve(status === null ? `signal ${signal}` : `status ${status}`));
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const musl =
        cause.code === 'ENOENT' ? ' Its programs need glibc: Alpine Linux, for one, has another C library.' : '';
      reject(
        new UserError(
          `The embedded PostgreSQL can't be run: ${cause.message}.${musl} Name a database with --database instead.`,
          1,
          { cause, code: 'PGO-EMBEDDED' },
        ),
      );
    });
  });
}

function failure(runtime: Runtime, what: string): UserError {
  const lines = runtime.log.text().trimEnd().split('\n').slice(-20);
  return new UserError(`The embedded PostgreSQL did not start: ${what}. It said:\n  ${lines.join('\n  ')}`, 1, {
    code: 'PGO-EMBEDDED',
  });
}

async function handOver(account: ServiceAccount | null, ...paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    if (account !== null) await chown(path, account.uid, account.gid);
    if (!path.endsWith('password')) await chmod(path, 0o700);
  }
}
