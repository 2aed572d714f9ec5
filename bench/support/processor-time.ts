/** Processor time from /proc: the one figure that a busy machine does not falsify. NaN where there is no /proc. */
import { readdirSync, readFileSync } from 'node:fs';

interface ProcessStat {
  readonly parent: number;
  readonly ownMs: number;
  /** Of children that have ended. */
  readonly childrenMs: number;
}

/** Of a process itself, so far. */
export const processorMs = (pid: number | undefined): number => statOf(pid)?.ownMs ?? Number.NaN;

/** Of a process and all its children, ended ones included. */
export function familyProcessorMs(pid: number): number {
  for (;;) {
    const own = statOf(pid);
    if (own === null) return Number.NaN;
    const living = readdirSync('/proc').flatMap((entry) => {
      const stat = /^\d+$/.test(entry) ? statOf(Number(entry)) : null;
      return stat?.parent === pid ? [stat.ownMs] : [];
    });
    // One that ended meanwhile is in neither figure, or in both.
    if (statOf(pid)?.childrenMs !== own.childrenMs) continue;
    return living.reduce((total, ms) => total + ms, own.ownMs + own.childrenMs);
  }
}

export const parentOf = (pid: number): number => statOf(pid)?.parent ?? Number.NaN;

/** Memory now, and the most there was, in MB (10^6 bytes). */
export function residentMb(pid: number | undefined): { readonly now: number; readonly peak: number } {
  const status = read(`/proc/${pid}/status`);
  const field = (name: string) => (Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) * 1024) / 1e6;
  return { now: field('VmRSS'), peak: field('VmHWM') };
}

function statOf(pid: number | undefined): ProcessStat | null {
  // The second field, a name in parentheses, may hold spaces; behind it comes field 3, the state.
  const stat = read(`/proc/${pid}/stat`);
  if (stat === '') return null;
  const fields = stat
    .slice(stat.lastIndexOf(') ') + 2)
    .split(' ')
    .map(Number);
  const field = (n: number) => fields[n - 3] ?? Number.NaN;
  const hundredths = 10;
  return {
    parent: field(4),
    ownMs: (field(14) + field(15)) * hundredths,
    childrenMs: (field(16) + field(17)) * hundredths,
  };
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
