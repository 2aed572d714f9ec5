import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { dirname, parse, resolve } from 'node:path';
import { promisify } from 'node:util';
import { UserError } from '../domain/errors.ts';

const run = promisify(execFile);

/** Whom PostgreSQL runs as when that can't be ourselves. */
export interface ServiceAccount {
  readonly uid: number;
  readonly gid: number;
}

/**
 * PostgreSQL refuses to run as root, so root runs it as the user `postgres`, made when it is missing. `nobody` would
 * spare the new user, but then every other service that runs as `nobody` could read the data.
 *
 * @returns null when PostgreSQL may run as ourselves
 * @throws UserError when we are root and there is no such user and none can be made
 */
export async function serviceAccount(): Promise<ServiceAccount | null> {
  if (process.getuid?.() !== 0) return null;
  const existing = await lookUp();
  if (existing !== null) return existing;
  try {
    await run('groupadd', ['--force', '--system', 'postgres']);
    await run('useradd', ['--system', '--gid', 'postgres', '--no-create-home', 'postgres']);
  } catch (cause) {
    throw new UserError(
      'PostgreSQL does not run as root, and the user "postgres" it would run as could not be created. ' +
        'Create that user, run this command as another user, or name a database with --database.',
      1,
      { cause, code: 'PGO-EMBEDDED' },
    );
  }
  const created = await lookUp();
  if (created === null) throw new Error('the user "postgres" was created, but can\'t be found');
  return created;
}

async function lookUp(): Promise<ServiceAccount | null> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', 'postgres']), run('id', ['-g', 'postgres'])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return null;
  }
}

/**
 * The first of the path and its parents that keeps the account out, or null. Asked before anything is spawned: a
 * program in a place its user can't enter fails with EACCES after `spawn` has returned, far from its reason.
 */
export async function blockedAt(path: string, account: ServiceAccount): Promise<string | null> {
  const absolute = resolve(path);
  const steps: string[] = [];
  for (let step = absolute; step !== parse(step).root; step = dirname(step)) steps.unshift(step);
  for (const step of steps) {
    const { mode, uid, gid } = await stat(step);
    const granted = uid === account.uid ? mode >> 6 : gid === account.gid ? mode >> 3 : mode;
    const directory = (mode & 0o170000) === 0o040000;
    // A directory on the way needs x; what stands at its end needs r and, when it is a directory or a program, x.
    const needed = step !== absolute ? 0o1 : directory || (mode & 0o100) !== 0 ? 0o5 : 0o4;
    if ((granted & needed) !== needed) return step;
  }
  return null;
}
