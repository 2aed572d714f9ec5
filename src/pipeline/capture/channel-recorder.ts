import type { Config } from '../../domain/rules.ts';
import type { Telemetry } from '../../domain/telemetry.ts';
import type { Notification, NotificationLog } from '../../transport/contract.ts';
import { StageLoop } from '../stage-loop.ts';

export interface ChannelRecorderOptions {
  /** null: another instance records. */
  readonly openLog: () => Promise<NotificationLog | null>;
  readonly onEvents: () => void;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

/** How often an instance that does not record asks whether it may. */
const standbyMs = 1_000;
const largestBatch = 500;

/**
 * Stage 1 for channel sources: a notification becomes an event the moment it is heard.
 *
 * PostgreSQL keeps no notification for an absent listener; that is why the other two kinds of source exist. From
 * hearing it on, nothing is lost while this process lives: it is kept until it is written.
 */
export class ChannelRecorder {
  readonly #options: ChannelRecorderOptions;
  readonly #loop: StageLoop;
  #sources = new Map<string, string[]>();
  #heard: Notification[] = [];
  #log: NotificationLog | null = null;
  /** Another instance records. Not so while the place is ours and the database is away: then nobody else does. */
  #standby = false;

  constructor(options: ChannelRecorderOptions) {
    this.#options = options;
    this.#loop = new StageLoop({
      name: 'capture',
      round: () => this.#round(),
      recover: () => this.#close(),
      telemetry: options.telemetry,
      isTransient: options.isTransient,
    });
  }

  load(config: Config): void {
    this.#sources = new Map();
    for (const source of config.sources.values()) {
      if (source.kind !== 'channel') continue;
      this.#sources.set(source.channel, [...(this.#sources.get(source.channel) ?? []), source.name]);
    }
    this.#loop.ring();
  }

  start(): void {
    this.#loop.start();
  }

  hear(channel: string, payload: string): void {
    for (const source of this.#sources.get(channel) ?? []) {
      this.#heard.push({ source, payload });
      this.#options.telemetry({ type: 'capture.notification', source, bytes: Buffer.byteLength(payload) });
    }
    this.#loop.ring();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    if (!this.#standby) await this.#recordTheRest();
    await this.#close();
  }

  async #round(): Promise<number> {
    if (this.#sources.size === 0) {
      await this.#close();
      return Number.POSITIVE_INFINITY;
    }
    this.#log ??= await this.#options.openLog();
    this.#standby = this.#log === null;
    if (this.#log === null) {
      // The instance that records has heard these too.
      this.#heard = [];
      return standbyMs;
    }
    await this.#record(this.#log);
    return this.#heard.length > 0 ? 0 : 10_000;
  }

  /** All that was heard, however many batches. What the database refuses now is lost, and that is said. */
  async #recordTheRest(): Promise<void> {
    try {
      while (this.#heard.length > 0) {
        this.#log ??= await this.#options.openLog();
        // Somebody else has the place by now, and has heard these too.
        if (this.#log === null) return;
        await this.#record(this.#log);
      }
    } catch (error) {
      const message = `${this.#heard.length} notifications were heard and could not be recorded before the end`;
      this.#options.telemetry({ type: 'stage.failed', stage: 'capture', error: new Error(message, { cause: error }) });
    }
  }

  async #record(log: NotificationLog): Promise<void> {
    const batch = this.#heard.slice(0, largestBatch);
    await log.record(batch);
    this.#heard.splice(0, batch.length);
    if (batch.length > 0) this.#options.onEvents();
  }

  async #close(): Promise<void> {
    const log = this.#log;
    this.#log = null;
    await log?.close();
  }
}
