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
    if (this.#log !== null && this.#heard.length > 0) await this.#record(this.#log).catch(() => {});
    await this.#close();
  }

  async #round(): Promise<number> {
    if (this.#sources.size === 0) {
      await this.#close();
      return Number.POSITIVE_INFINITY;
    }
    this.#log ??= await this.#options.openLog();
    if (this.#log === null) {
      // The instance that records has heard these too.
      this.#heard = [];
      return standbyMs;
    }
    await this.#record(this.#log);
    return this.#heard.length > 0 ? 0 : 10_000;
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
