import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, realpath, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { UserError } from '../domain/errors.ts';
import { birthOf, commandLineOf, ended } from './process-identity.ts';
import { blockedAt, type ServiceAccount } from './service-account.ts';

/**
 * A directory of ours:
 *
 *     cluster/     what PostgreSQL calls the data directory
 *     password     of the superuser, made once per directory
 *     owner.json   the process that uses it now
 */
export interface DataDirectory {
  readonly path: string;
  readonly cluster: string;
  readonly password: string;
  /** Gives it back; with persistent false everything of ours in it is removed. */
  release(): Promise<void>;
}

interface Owner {
  readonly host: string;
  readonly pid: number;
  readonly birth: string | null;
}

const temporaryPrefix = 'pg-observers-';

/**
 * Chooses, creates and claims the directory. A postmaster that outlived the process that started it (SIGKILL) is
 * stopped, and temporary directories of dead processes are removed.
 *
 * @throws UserError when the directory is in use by a living process, or PostgreSQL's user could not enter it
 */
export async function openDataDirectory(
  wanted: string | undefined,
  persistent: boolean,
  account: ServiceAccount | null,
): Promise<DataDirectory> {
  await removeLeftovers();
  const path = await choosePlace(wanted, persistent, account);
  await claim(path);
  try {
    return {
      path,
      cluster: join(path, 'cluster'),
      password: await passwordOf(path),
      release: () => release(path, persistent),
    };
  } catch (error) {
    await release(path, persistent);
    throw error;
  }
}

async function choosePlace(wanted: string | undefined, persistent: boolean, account: ServiceAccount | null) {
  if (wanted === undefined && !persistent) return temporaryPlace(account);
  const named = resolve(wanted ?? '.pg-observers/postgres');
  await mkdir(named, { recursive: true });
  // One name for one place: an orphan is recognised by the path on its command line.
  const path = await realpath(named);
  if (account === null) return path;
  await chmod(path, 0o755); // the cluster inside is 0700, the password 0600
  const blocked = await blockedAt(path, account);
  if (blocked === null) return path;
  await rmdir(path).catch(() => undefined); // as empty as it was made
  if (wanted !== undefined) {
    throw new UserError(
      `The data directory ${path} can't be used: as root, PostgreSQL runs as the user "postgres", who may not enter ${blocked}. ` +
        'Choose another directory (below /var/lib, say), or run this command as another user.',
      1,
      { code: 'PGO-EMBEDDED' },
    );
  }
  // The working directory belongs to root alone. One fixed place per working directory, so that the data is found again.
  const substitute = `/var/lib/pg-observers/${createHash('sha256').update(path).digest('hex').slice(0, 12)}`;
  await mkdir(substitute, { recursive: true, mode: 0o755 });
  return substitute;
}

async function temporaryPlace(account: ServiceAccount | null): Promise<string> {
  // TMPDIR may be private too (pam_tmpdir gives everyone, root included, a 0700 directory).
  const base = account !== null && (await blockedAt(tmpdir(), account)) !== null ? '/tmp' : tmpdir();
  const path = await mkdtemp(join(await realpath(base), temporaryPrefix));
  if (account !== null) await chmod(path, 0o755);
  return path;
}

async function claim(path: string): Promise<void> {
  const owner = await ownerOf(path);
  if (owner !== null && (await isAlive(owner))) {
    throw new UserError(
      owner.host === hostname()
        ? `The data directory ${path} is in use by process ${owner.pid}. Stop that process, or choose another directory.`
        : `The data directory ${path} is in use on the host ${owner.host}. If that host is gone (a removed container, say), ` +
            `remove ${join(path, 'owner.json')} and try again; otherwise choose another directory.`,
      1,
      { code: 'PGO-EMBEDDED' },
    );
  }
  await stopOrphan(join(path, 'cluster'));
  const self: Owner = { host: hostname(), pid: process.pid, birth: await birthOf(process.pid) };
  await writeFile(join(path, 'owner.json'), JSON.stringify(self));
}

async function release(path: string, persistent: boolean): Promise<void> {
  const ours = persistent ? ['owner.json'] : ['cluster', 'cluster.new', 'password', 'owner.json'];
  for (const name of ours) await rm(join(path, name), { recursive: true, force: true });
  // Only when empty: a directory somebody named may hold more than what we put there.
  if (!persistent) await rmdir(path).catch(() => undefined);
}

async function ownerOf(path: string): Promise<Owner | null> {
  try {
    return JSON.parse(await readFile(join(path, 'owner.json'), 'utf8')) as Owner;
  } catch {
    return null;
  }
}

/** A process of another host (a container that shares the directory) can't be looked up: taken for alive. */
async function isAlive(owner: Owner): Promise<boolean> {
  return owner.host !== hostname() || (owner.birth !== null && (await birthOf(owner.pid)) === owner.birth);
}

/**
 * Stops the postmaster that postmaster.pid names, when it really is one of this directory: after a reboot the number
 * may belong to anything. A file that names something else is removed, or PostgreSQL would refuse to start.
 */
async function stopOrphan(cluster: string): Promise<void> {
  const file = join(cluster, 'postmaster.pid');
  const pid = Number((await readFile(file, 'utf8').catch(() => '')).split('\n')[0]);
  if (!Number.isInteger(pid) || pid <= 1 || (await birthOf(pid)) === null) return;
  if (!(await commandLineOf(pid)).includes(cluster)) {
    await rm(file, { force: true });
    return;
  }
  // Fast, immediate, then by force: https://www.postgresql.org/docs/18/server-shutdown.html
  for (const [signal, withinMs] of [
    ['SIGINT', 10_000],
    ['SIGQUIT', 5_000],
    ['SIGKILL', 5_000],
  ] as const) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
      throw error;
    }
    if (await ended(pid, withinMs)) return;
  }
  throw new UserError(
    `A PostgreSQL server left over from an earlier run (process ${pid}, ${cluster}) does not stop.`,
    1,
    { code: 'PGO-EMBEDDED' },
  );
}

async function removeLeftovers(): Promise<void> {
  for (const base of new Set([tmpdir(), '/tmp'])) {
    for (const name of await readdir(base).catch(() => [])) {
      if (!name.startsWith(temporaryPrefix)) continue;
      const path = join(base, name);
      const owner = await ownerOf(path);
      // Without owner.json it is not ours, or just being made. A stranger's directory in /tmp is left alone too.
      if (owner === null || (await stat(path)).uid !== process.getuid?.() || (await isAlive(owner))) continue;
      await stopOrphan(join(path, 'cluster')).then(
        () => rm(path, { recursive: true, force: true }),
        () => undefined, // no reason to fail this start
      );
    }
  }
}

async function passwordOf(path: string): Promise<string> {
  const file = join(path, 'password');
  const existing = await readFile(file, 'utf8').catch(() => '');
  if (existing !== '') return existing;
  const password = randomBytes(24).toString('base64url');
  await writeFile(file, password, { mode: 0o600 });
  return password;
}
