import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll, onTestFailed, onTestFinished, TestRunner } from 'vitest';

/** The built program: `npm test` builds it first. */
export const program = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const repository = new URL('../../', import.meta.url).pathname;

export interface ProcessEnd {
  /** null when a signal ended it. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface TestProcess {
  readonly pid: number;
  /** Resolves with its end, whatever that was. */
  readonly exited: Promise<ProcessEnd>;
  stdout(): string;
  stderr(): string;
  /**
   * The first line of stdout or stderr, past or future, that matches.
   * @throws Error with the output when the process ends first or the time (milliseconds) is up
   */
  waitForLine(pattern: RegExp, withinMs?: number): Promise<RegExpMatchArray>;
  /** Sends the signal, SIGTERM by default, and waits for the end. For SIGSTOP and others that don't end it: `signal`. */
  kill(signal?: NodeJS.Signals): Promise<ProcessEnd>;
  signal(signal: NodeJS.Signals): void;
}

export interface ProcessOptions {
  /** Added to ours; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Written to stdin, which is then closed. */
  readonly input?: string;
}

/** Starts `pg-observers` with these arguments. Like all processes here it is killed at the end of its test. */
export function startProgram(args: readonly string[], options: ProcessOptions = {}): TestProcess {
  return startProcess(process.execPath, [program, ...args], options);
}

/** Runs `pg-observers` to its end. */
export function runProgram(args: readonly string[], options: ProcessOptions = {}): Promise<ProcessEnd> {
  return startProgram(args, options).exited;
}

/** TypeScript, run as a module of its own process, in the repository. */
export function startScript(source: string, options: ProcessOptions = {}): TestProcess {
  return startProcess(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', source], {
    cwd: repository,
    ...options,
  });
}

export function startProcess(command: string, args: readonly string[], options: ProcessOptions = {}): TestProcess {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => undefined); // it may end without reading
  child.stdin.end(options.input ?? '');
  const output = { stdout: '', stderr: '' };
  const checks = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
      for (const check of checks) check();
    });
  }
  const exited = new Promise<ProcessEnd>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => resolve({ status, signal, ...output }));
  });
  exited.catch(() => undefined); // a failed spawn is reported to whoever awaits it
  const transcript = () =>
    `$ ${command} ${args.join(' ')}\n--- stdout\n${output.stdout}\n--- stderr\n${output.stderr}\n---`;
  cleanUp(child, exited, transcript);
  const kill = (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal);
    return exited;
  };
  return {
    pid: child.pid ?? -1,
    exited,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    kill,
    signal: (signal) => void child.kill(signal),
    waitForLine: (pattern, withinMs = 20_000) =>
      waitFor(
        () => find(output, pattern),
        checks,
        exited,
        withinMs,
        (why) => {
          return new Error(`${why} before a line matched ${pattern}\n${transcript()}`);
        },
      ),
  };
}

/** Only whole lines, or a pattern with an open end would match half a word. */
function find(output: { stdout: string; stderr: string }, pattern: RegExp): RegExpMatchArray | null {
  for (const text of [output.stdout, output.stderr]) {
    for (const line of text.split('\n').slice(0, -1)) {
      const match = line.match(pattern);
      if (match !== null) return match;
    }
  }
  return null;
}

function waitFor<T>(
  attempt: () => T | null,
  checks: Set<() => void>,
  exited: Promise<ProcessEnd>,
  withinMs: number,
  failure: (why: string) => Error,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void) => {
      clearTimeout(timer);
      checks.delete(check);
      finish();
    };
    const check = () => {
      const found = attempt();
      if (found !== null) settle(() => resolve(found));
    };
    const timer = setTimeout(() => settle(() => reject(failure(`${withinMs} ms went by`))), withinMs);
    checks.add(check);
    exited.then(
      ({ status, signal }) => settle(() => reject(failure(`it ended with ${signal ?? `status ${status}`}`))),
      (error: Error) => settle(() => reject(failure(`it could not be started (${error.message})`))),
    );
    check();
  });
}

function cleanUp(child: ChildProcess, exited: Promise<ProcessEnd>, transcript: () => string): void {
  const end = async () => {
    child.kill('SIGKILL'); // also ends a stopped one
    await exited.catch(() => undefined);
  };
  if (TestRunner.getCurrentTest() === undefined) {
    afterAll(end);
    return;
  }
  onTestFinished(end);
  onTestFailed(() => console.error(transcript()));
}
