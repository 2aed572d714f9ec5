import { UserError } from '../domain/errors.ts';
import type { Telemetry } from '../domain/telemetry.ts';
import { Wake } from './wake.ts';

export interface StageLoopOptions {
  /** For messages: `decide`, `deliver`, `rescue`, … */
  readonly name: string;
  /** One round. @returns milliseconds to wait before the next one, unless woken; 0: at once */
  readonly round: () => Promise<number>;
  /** Called after a round threw, before it is tried again: close what is broken. */
  readonly recover?: () => Promise<void>;
  readonly telemetry: Telemetry;
  /** True when waiting may help (the database is away); anything else is reported as a bug, and tried again all the same. */
  readonly isTransient: (error: unknown) => boolean;
}

const firstRetryMs = 100;
const longestRetryMs = 3_000;

/**
 * The one start/stop contract of every loop: rounds follow each other until `stop`, which resolves when the round in
 * progress has ended. Both may be called twice, and `stop` before `start`.
 */
export class StageLoop {
  readonly #options: StageLoopOptions;
  readonly #wake = new Wake();
  #stopped = false;
  #running: Promise<void> | null = null;
  /** What people were told of this outage beside that it is one. */
  #told: string | null = null;

  constructor(options: StageLoopOptions) {
    this.#options = options;
  }

  get stopping(): boolean {
    return this.#stopped;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends the current wait. */
  ring(): void {
    this.#wake.ring();
  }

  /** For a round that waits in the middle of its work. */
  pause(ms: number): Promise<boolean> {
    return this.#stopped ? Promise.resolve(true) : this.#wake.wait(ms);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake.ring();
    await this.#running;
  }

  async #run(): Promise<void> {
    let unreachableSince: number | null = null;
    let retryMs = firstRetryMs;
    while (!this.#stopped) {
      try {
        const waitMs = await this.#options.round();
        if (unreachableSince !== null) this.#reached(unreachableSince);
        unreachableSince = null;
        this.#told = null;
        retryMs = firstRetryMs;
        if (!this.#stopped) await this.#wake.wait(waitMs);
      } catch (error) {
        if (this.#report(error, unreachableSince === null)) unreachableSince ??= performance.now();
        await this.#options.recover?.();
        if (!this.#stopped) await this.#wake.wait(retryMs * (0.5 + Math.random() / 2));
        retryMs = Math.min(retryMs * 2, longestRetryMs);
      }
    }
  }

  /**
   * One message per outage and not one a second; another when it has become one that people must do something about (it is back
   * as a standby, say).
   * @returns whether the database is away
   */
  #report(error: unknown, first: boolean): boolean {
    const { name, telemetry, isTransient } = this.#options;
    const away = isTransient(error);
    if (!away) telemetry({ type: 'stage.failed', stage: name, error });
    else if (this.#isNews(error) || first) {
      telemetry({ type: 'database.unreachable', stage: name, message: messageOf(error) });
    }
    return away;
  }

  #isNews(error: unknown): boolean {
    if (!(error instanceof UserError) || error.message === this.#told) return false;
    this.#told = error.message;
    return true;
  }

  #reached(since: number): void {
    const afterMs = Math.round(performance.now() - since);
    this.#options.telemetry({ type: 'database.reached', stage: this.#options.name, afterMs });
  }
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return messageOf(error.errors[0]);
  return error instanceof Error ? error.message || error.name : String(error);
}
