import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, onTestFinished, TestRunner } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { type ProcessOptions, startProgram, type TestProcess } from '../support/processes.ts';

/** Polls until `look` gives something. @throws Error naming `what` after `withinMs` */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  withinMs = 20_000,
): Promise<T> {
  for (const deadline = Date.now() + withinMs; ; await sleep(20)) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`${withinMs} ms went by without: ${what}`);
  }
}

/** A folder that goes away with the test, or with the file when made at its top level. */
export async function scratchFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pg-observers-e2e-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  if (TestRunner.getCurrentTest() === undefined) afterAll(remove);
  else onTestFinished(remove);
  return folder;
}

/** Writes the text as observers.yaml into a folder of its own. @returns its path */
export async function rulesFile(yaml: string): Promise<string> {
  const file = join(await scratchFolder(), 'observers.yaml');
  await writeFile(file, yaml);
  return file;
}

export { freePort };

export interface LogRecord {
  readonly level: string;
  readonly msg: string;
  readonly event?: string;
  readonly [field: string]: unknown;
}

export interface Sidecar extends TestProcess {
  /** Every line of stdout so far. @throws when one is not JSON */
  records(): LogRecord[];
  /** The first record, past or future, for which this is true. */
  record(what: string, matches: (record: LogRecord) => boolean, withinMs?: number): Promise<LogRecord>;
}

export interface SidecarOptions extends ProcessOptions {
  readonly args?: readonly string[];
  /** Resolve when it routes, or at once; `observing`: when it is started (another one may route). */
  readonly until?: 'routing' | 'observing' | 'spawned';
}

/** `pg-observers run`, without its HTTP server unless the environment asks for it. */
export async function startSidecar(rules: string, options: SidecarOptions = {}): Promise<Sidecar> {
  const { args = [], until = 'routing', env, ...rest } = options;
  const child = startProgram(['run', '--config', rules, ...args], {
    ...rest,
    env: { PG_OBSERVERS_LISTEN: 'off', ...env },
  });
  if (until !== 'spawned') {
    await child.waitForLine(until === 'routing' ? /"event":"routing\.acquired"/ : /"event":"engine\.started"/);
  }
  const records = () => parseLog(child.stdout());
  return {
    ...child,
    records,
    record: (what, matches, withinMs) => eventually(what, () => records().find(matches), withinMs),
  };
}

/** Only whole lines. */
export function parseLog(text: string): LogRecord[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as LogRecord);
}
