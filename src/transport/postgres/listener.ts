import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientConfig } from 'pg';
import { type ListenerConnection, openConnection } from './listener-connection.ts';

/*
 * The LISTEN connection, one per process. A notification is a hint and nothing more: every connection begins with a gap
 * that nobody will ever fill, so `onConnected` means "read what you may have missed".
 *
 * pg-listen serves one connection at a time (listener-connection.ts says why); reconnecting is done here.
 */

export interface ListenerOptions {
  /** With application_name. A direct or session-pooled connection: see `probe`. */
  readonly connection: ClientConfig;
  readonly channels: readonly string[];
  /** The payload as it was sent, '' when there was none. Must not throw. */
  onNotification(channel: string, payload: string): void;
  /** Every channel is listened to (again); what was sent before is lost: read the log. Must not throw. */
  onConnected(): void;
  /** Once per outage: the connection was lost, or the first attempt of `start` failed. Must not throw. */
  onDisconnected(error: Error): void;
  /**
   * `select pg_notification_queue_usage()` on any other connection; called from start to stop. Asking is what
   * lets PostgreSQL free the part of the queue that has been read: a queue that was full stays full until somebody asks.
   */
  measureQueue?(): Promise<number>;
  /** Between two of these, in milliseconds. Default: 10,000. */
  readonly measureEveryMs?: number;
}

export interface Listener {
  /** Every channel is listened to. */
  readonly connected: boolean;
  /** Why there is no connection: the latest failure. null while connected and before the first attempt. */
  readonly lastError: Error | null;
  /** How full PostgreSQL's notification queue was when last measured, 0 … 1. At 1 the commits of notifying writers fail. */
  readonly queueUsage: number | null;
  /**
   * Resolves when the first attempt has succeeded or failed (about 5 s at most) and goes on trying until `stop`. Never
   * rejects. Idempotent; a stopped listener stays stopped.
   */
  start(): Promise<void>;
  /** Listens to these channels from now on; without a connection, from the next one on. Never rejects. */
  setChannels(channels: readonly string[]): Promise<void>;
  /**
   * Whether notifications arrive at all: PgBouncer in transaction mode accepts LISTEN and delivers nothing. False, too,
   * while there is no connection.
   *
   * @param notify sends through another connection
   */
  probe(notify: (channel: string, payload: string) => Promise<unknown>): Promise<boolean>;
  /** Resolves when the connection is closed: within about a second, at once during an outage. Idempotent. */
  stop(): Promise<void>;
}

export function createListener(options: ListenerOptions): Listener {
  return new ReconnectingListener(options);
}

/** Between attempts, in milliseconds: doubled from first to longest, with jitter down to the half. */
const firstRetryMs = 100;
const longestRetryMs = 2_500;
const usuallyMeasuredEveryMs = 10_000;
const probeTimeoutMs = 1_500;
const probeChannel = 'pg_observers_probe';

class ReconnectingListener implements Listener {
  readonly #options: ListenerOptions;
  readonly #stopping = new AbortController();
  #channels: readonly string[];
  #connection: ListenerConnection | null = null;
  #connected = false;
  #lastError: Error | null = null;
  #queueUsage: number | null = null;
  #firstAttempt: Promise<void> | null = null;
  #running: Promise<void> = Promise.resolve();
  /** Tokens on their way, and whom to tell. */
  readonly #probes = new Map<string, () => void>();

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#channels = options.channels;
  }

  get connected(): boolean {
    return this.#connected;
  }

  get lastError(): Error | null {
    return this.#lastError;
  }

  get queueUsage(): number | null {
    return this.#queueUsage;
  }

  start(): Promise<void> {
    if (this.#stopping.signal.aborted) return Promise.resolve();
    this.#firstAttempt ??= new Promise((attempted) => {
      this.#running = this.#keepListening(attempted);
      // Not awaited by stop(): in an outage its query may take long, and what it says is of no use any more.
      void this.#keepMeasuring();
    });
    return this.#firstAttempt;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#connection?.close();
    await this.#running;
  }

  async setChannels(channels: readonly string[]): Promise<void> {
    this.#channels = channels;
    await this.#subscribe();
  }

  async probe(notify: (channel: string, payload: string) => Promise<unknown>): Promise<boolean> {
    const token = randomUUID();
    const heard = new Promise<true>((resolve) => this.#probes.set(token, () => resolve(true)));
    const timer = new AbortController();
    try {
      if (!this.#connected || !(await this.#subscribe())) return false;
      await notify(probeChannel, token);
      const deaf = sleep(probeTimeoutMs, false as const, { signal: timer.signal });
      return await Promise.race([heard, deaf]);
    } finally {
      timer.abort();
      this.#probes.delete(token);
      await this.#subscribe();
    }
  }

  /** One connection after the other, until stop(). */
  async #keepListening(attempted: () => void): Promise<void> {
    const { signal } = this.#stopping;
    let failures = 0;
    while (!signal.aborted) {
      try {
        await this.#listen(() => {
          failures = 0;
          attempted();
        });
      } catch (error) {
        if (!signal.aborted) this.#disconnected(error as Error);
      }
      attempted();
      failures++;
      await sleep(retryDelayMs(failures), undefined, { signal }).catch(() => undefined);
    }
  }

  /** One connection from its beginning to its end. @throws Error the reason of the end, always */
  async #listen(onListening: () => void): Promise<never> {
    const { signal } = this.#stopping;
    const hear = (channel: string, payload: string) => this.#hear(channel, payload);
    const connection = await openConnection(this.#options.connection, hear, signal);
    this.#connection = connection;
    try {
      await connection.listenTo(this.#wanted());
      signal.throwIfAborted();
      this.#connected = true;
      this.#lastError = null;
      onListening();
      this.#options.onConnected();
      throw await connection.lost;
    } finally {
      this.#connected = false;
      this.#connection = null;
      await connection.close();
    }
  }

  #disconnected(error: Error): void {
    const news = this.#lastError === null;
    this.#lastError = error;
    if (news) this.#options.onDisconnected(error);
  }

  #hear(channel: string, payload: string): void {
    if (channel !== probeChannel) this.#options.onNotification(channel, payload);
    else this.#probes.get(payload)?.();
  }

  /** false without a connection; one on which it fails is lost, and the next one listens to what is wanted by then. */
  async #subscribe(): Promise<boolean> {
    if (this.#connection === null) return false;
    return this.#connection.listenTo(this.#wanted()).then(
      () => true,
      () => false,
    );
  }

  #wanted(): ReadonlySet<string> {
    return new Set(this.#probes.size === 0 ? this.#channels : [...this.#channels, probeChannel]);
  }

  async #keepMeasuring(): Promise<void> {
    const { measureQueue, measureEveryMs = usuallyMeasuredEveryMs } = this.#options;
    const { signal } = this.#stopping;
    while (measureQueue !== undefined && !signal.aborted) {
      this.#queueUsage = await measureQueue().catch(() => null);
      await sleep(measureEveryMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

function retryDelayMs(failures: number): number {
  return Math.min(firstRetryMs * 2 ** (failures - 1), longestRetryMs) * (1 - Math.random() / 2);
}
