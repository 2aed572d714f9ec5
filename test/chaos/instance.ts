import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { InstanceEnvironment } from './scenario.ts';

export interface InstanceOptions extends InstanceEnvironment {
  readonly number: number;
  /** `dist/cli/main.js`, or a copy of it. */
  readonly program: string;
  readonly rulesFile: string;
  readonly logFile: string;
}

/** Something it said that the harness looks at. */
export interface Said {
  readonly instance: number;
  readonly at: number;
  readonly event: string;
  readonly level: string;
  readonly message: string;
}

/** Long runs make a million of these, and the table `attempts` has them all. */
const tooMany = /"event":"attempt\.finished","outcome":"delivered"/;

/** One `pg-observers run`, that may be killed and started again. What it says is kept in one file over all its lives. */
export class Instance {
  readonly number: number;
  readonly #options: InstanceOptions;
  readonly #log: WriteStream;
  readonly #listeners = new Set<(said: Said) => void>();
  #child: ChildProcess | null = null;
  #ended: Promise<string> = Promise.resolve('never started');
  #paused = false;
  #routing = false;
  #observing = false;
  #maxRssKb = 0;

  constructor(options: InstanceOptions) {
    this.number = options.number;
    this.#options = options;
    this.#log = createWriteStream(options.logFile, { flags: 'a' });
  }

  get running(): boolean {
    return this.#child !== null;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Whether it has started: before, a SIGTERM just ends it. */
  get observing(): boolean {
    return this.#observing;
  }

  /** As far as it has said. */
  get routing(): boolean {
    return this.#routing;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Of all its lives. */
  get maxRssMb(): number {
    return Math.round(this.#maxRssKb / 1024);
  }

  onSaid(listener: (said: Said) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Does not wait until it is ready. Running already, it does nothing. */
  start(): void {
    if (this.#child !== null) return;
    const { program, rulesFile, nodeOptions = [], env, number } = this.#options;
    const child = spawn(process.execPath, [...nodeOptions, program, 'run', '--config', rulesFile], {
      env: { ...process.env, PG_OBSERVERS_LISTEN: 'off', NO_COLOR: '1', CHAOS_INSTANCE: String(number), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.#hear(line));
    }
    this.#ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('close', (status, signal) => resolve(signal ?? `status ${status}`));
    });
    void this.#ended.then((how) => {
      this.#child = null;
      this.#paused = false;
      this.#routing = false;
      this.#observing = false;
      this.#hear(JSON.stringify({ level: 'info', event: 'harness.ended', msg: how, pid: child.pid }));
    });
  }

  /** Resolves with how it ended: `status 0`, `SIGKILL`. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<string> {
    this.#child?.kill(signal);
    return this.#ended;
  }

  signal(signal: 'SIGHUP'): void {
    this.#child?.kill(signal);
  }

  pause(): void {
    this.#paused = this.#child?.kill('SIGSTOP') ?? false;
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
    this.#paused = false;
  }

  /** Resolves with the next thing it says that matches. @throws Error when it says nothing of the kind in time */
  says(what: string, matches: (said: Said) => boolean, withinMs = 30_000): Promise<Said> {
    return new Promise((resolve, reject) => {
      const stop = this.onSaid((said) => {
        if (!matches(said)) return;
        clearTimeout(timer);
        stop();
        resolve(said);
      });
      const timer = setTimeout(() => {
        stop();
        reject(
          new Error(`instance ${this.number} did not say within ${withinMs} ms: ${what}; see ${this.#options.logFile}`),
        );
      }, withinMs);
    });
  }

  /** Resident memory now, in KiB; 0 where there is no /proc. */
  async sampleRssKb(): Promise<number> {
    const { pid } = this;
    if (pid === null) return 0;
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    const kb = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    this.#maxRssKb = Math.max(this.#maxRssKb, kb);
    return kb;
  }

  async close(): Promise<void> {
    if (this.#paused) this.resume();
    await this.end('SIGKILL');
    await new Promise<void>((resolve) => this.#log.end(() => resolve()));
  }

  #hear(line: string): void {
    if (tooMany.test(line)) return;
    const said = toSaid(this.number, line);
    if (said.event === 'engine.started') this.#observing = true;
    if (said.event === 'routing.acquired') this.#routing = true;
    if (said.event === 'routing.lost') this.#routing = false;
    if (!this.#log.writableEnded) this.#log.write(`${line}\n`);
    for (const listener of this.#listeners) listener(said);
  }
}

function toSaid(instance: number, line: string): Said {
  const at = Date.now();
  try {
    const { event = '', level = '', msg = '' } = JSON.parse(line) as { event?: string; level?: string; msg?: string };
    return { instance, at, event, level, message: msg };
  } catch {
    // A stack trace on stderr, say.
    return { instance, at, event: '', level: 'stderr', message: line };
  }
}
