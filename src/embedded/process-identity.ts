import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * When the process was born, or null when there is none (a zombie counts as none). Process ids are reused, in
 * containers within minutes; an id and a birth together are not.
 */
export async function birthOf(pid: number): Promise<string | null> {
  try {
    if (process.platform !== 'linux') {
      const { stdout } = await run('ps', ['-o', 'stat=,lstart=', '-p', String(pid)]);
      const [, state, birth] = /^\s*(\S+)\s+(.*\S)/.exec(stdout) ?? [];
      return state === undefined || birth === undefined || state.startsWith('Z') ? null : birth;
    }
    // proc_pid_stat(5): the name (field 2) may hold blanks and parentheses; field 3 is the state, field 22 the start time.
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}

/** The command line of a process, '' when there is none. */
export async function commandLineOf(pid: number): Promise<string> {
  try {
    if (process.platform !== 'linux') return (await run('ps', ['-o', 'command=', '-p', String(pid)])).stdout;
    // Not `ps`: slim container images come without it.
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

/** Waits for a process that is not our child to end; false when it still runs after the time (milliseconds). */
export async function ended(pid: number, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  while ((await birthOf(pid)) !== null) {
    if (Date.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return true;
}
