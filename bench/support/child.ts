import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { processorMs, residentMb } from './processor-time.ts';

export interface Child {
  readonly process: ChildProcess;
  /** So far. */
  processorMs(): number;
  /** Memory now, and the most there was, in MB (10^6 bytes). */
  residentMb(): { readonly now: number; readonly peak: number };
  /** SIGTERM, and waits for the end. @throws when it did not end by itself with status 0 */
  stop(): Promise<void>;
}

/** Those that have not ended. */
const running = new Set<ChildProcess>();
process.once('exit', () => killChildren());

/** What a row that failed left behind: it would take processor time from the next one. */
export function killChildren(): void {
  for (const child of running) child.kill('SIGKILL');
}

const repository = new URL('../../', import.meta.url).pathname;

/**
 * A process of its own in the repository; its stderr is ours.
 * @param ready resolves when a line of its stdout matches; null: at once
 */
export async function startChild(
  command: string,
  args: readonly string[],
  ready: RegExp | null,
  env: Readonly<Record<string, string>> = {},
): Promise<{ child: Child; line: string }> {
  const started = spawn(command, args, {
    cwd: repository,
    env: { ...process.env, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const exited = once(started, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  running.add(started);
  void exited.then(() => running.delete(started));
  if (ready === null) {
    started.stdout?.resume();
    return { child: childOf(started, exited), line: '' };
  }
  const line = await Promise.race([lineOf(started, ready), exited.then(() => null)]);
  if (line === null) throw new Error(`${command} ${args.join(' ')} ended before it was ready`);
  return { child: childOf(started, exited), line };
}

async function lineOf({ stdout }: ChildProcess, pattern: RegExp): Promise<string | null> {
  if (stdout === null) return null;
  for await (const line of createInterface({ input: stdout })) {
    if (!pattern.test(line)) continue;
    stdout.resume();
    return line;
  }
  return null;
}

function childOf(started: ChildProcess, exited: Promise<[number | null, NodeJS.Signals | null]>): Child {
  return {
    process: started,
    processorMs: () => processorMs(started.pid),
    residentMb: () => residentMb(started.pid),
    stop: async () => {
      started.kill('SIGTERM');
      const [status, signal] = await exited;
      if (status !== 0 && signal !== 'SIGTERM') throw new Error(`it ended with ${signal ?? `status ${status}`}`);
    },
  };
}

export interface Measured {
  readonly stdout: string;
  /** From its start to its end, as seen every few milliseconds. */
  readonly processorMs: number;
  readonly peakMb: number;
}

/** Runs a program to its end. @throws when that is not status 0 */
export async function measureProgram(command: string, args: readonly string[]): Promise<Measured> {
  const started = spawn(command, args, { cwd: repository, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(started, 'exit');
  running.add(started);
  let seen = { processorMs: 0, peakMb: 0 };
  const look = setInterval(() => {
    const [ms, { peak }] = [processorMs(started.pid), residentMb(started.pid)];
    if (Number.isFinite(ms + peak)) seen = { processorMs: ms, peakMb: peak };
  }, 5);
  const stdout = await text(started.stdout);
  const [status] = await exited;
  clearInterval(look);
  running.delete(started);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with status ${status}`);
  return { stdout, ...seen };
}
