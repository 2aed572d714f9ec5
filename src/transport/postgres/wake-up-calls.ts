import type pg from 'pg';
import type { Telemetry } from '../../domain/telemetry.ts';
import { connectionConfig } from './connection.ts';
import { describeError } from './failures.ts';
import { createListener, type Listener } from './listener.ts';
import { markChannel, wakeChannel, wakeFor } from './locks.ts';

export interface WakeUpCallsOptions {
  readonly url: string;
  /** Of the operating system; the session carries it. */
  readonly process: string;
  readonly pool: pg.Pool;
  /** Of channel sources. */
  readonly channels: readonly string[];
  /** There may be events to route. */
  readonly onEvents: () => void;
  /** Conditions of dead letters may have to be evaluated again. */
  readonly onReplays: () => void;
  /** There may be deliveries to claim. */
  readonly onDeliveries: () => void;
  /** On a channel of the sources. */
  readonly onNotification: (channel: string, payload: string) => void;
  /** LISTEN was answered for these channels of the sources; what is notified from now on will be heard. */
  readonly onListening: (channels: readonly string[]) => void;
  /** A mark, in the order of all notifications. */
  readonly onMark: (payload: string) => void;
  /** The connection is lost: what is notified meanwhile will not be heard. */
  readonly onDeaf: () => void;
  /** An instance stopped, and what only one does is free. */
  readonly onPlaces: () => void;
  /** A destination was disabled, enabled or paused. */
  readonly onDestinations: () => void;
  readonly telemetry: Telemetry;
}

/** Hears what PostgreSQL notifies and says whom it concerns. A hint and never data, save for channel sources. */
/** Between two hints to the others. Milliseconds. */
const leaveAfterMs = 50;

export class WakeUpCalls {
  readonly #options: WakeUpCallsOptions;
  readonly #listener: Listener;
  #deaf = false;
  #leaving = false;
  #stopped = false;
  #channels: readonly string[];

  constructor(options: WakeUpCallsOptions) {
    this.#options = options;
    this.#channels = options.channels;
    this.#listener = createListener({
      connection: connectionConfig(options.url, `listener ${options.process}`),
      channels: allOf(options.channels),
      onNotification: (channel, payload) => this.#hear(channel, payload),
      onConnected: () => this.#connected(),
      onDisconnected: (error) => {
        options.onDeaf();
        options.telemetry({ type: 'listener.disconnected', message: describeError(error) });
      },
      measureQueue: async () => {
        const { rows } = await options.pool.query<{ usage: number }>('select pg_notification_queue_usage() as usage');
        return rows[0]?.usage ?? 0;
      },
    });
  }

  /** Resolves after the first attempt to connect, whatever became of it. */
  start(): Promise<void> {
    return this.#listener.start();
  }

  async setChannels(channels: readonly string[]): Promise<void> {
    this.#channels = channels;
    await this.#listener.setChannels(allOf(channels));
    if (this.#listener.connected) this.#options.onListening(channels);
  }

  /** Why changes are found by polling only, for readiness; null when they are not. */
  complaint(): string | null {
    if (!this.#listener.connected) return 'the LISTEN connection is lost; changes are found by polling';
    return this.#deaf ? 'notifications do not arrive; changes are found by polling' : null;
  }

  /** Tells the other instances what this one left to them. A hint: they would find out by themselves. Never rejects. */
  async leave(what: 'deliveries' | 'places'): Promise<void> {
    await this.#options.pool.query('select pg_notify($1, $2)', [wakeChannel, wakeFor[what]]).catch(() => {});
  }

  /**
   * The same for a stream of them, once in a while: every notification takes a lock on the whole cluster until its commit is
   * on disk, and whoever was rung goes on claiming by itself while it finds something.
   */
  leaveSoon(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    setTimeout(() => {
      this.#leaving = false;
      if (!this.#stopped) void this.leave('deliveries');
    }, leaveAfterMs).unref();
  }

  /** Finds out whether notifications arrive at all: a pooler in transaction mode accepts LISTEN and delivers nothing. */
  async probe(): Promise<void> {
    if (!this.#listener.connected) return;
    const heard = await this.#listener
      .probe((channel, payload) => this.#options.pool.query('select pg_notify($1, $2)', [channel, payload]))
      .catch(() => true);
    this.#deaf = !heard && this.#listener.connected && !this.#stopped;
    if (this.#deaf) this.#options.telemetry({ type: 'listener.deaf' });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#listener.stop();
  }

  #hear(channel: string, payload: string): void {
    const { onNotification, onMark, onDeliveries, onReplays, onPlaces, onDestinations, onEvents } = this.#options;
    if (channel === markChannel) return onMark(payload);
    if (channel !== wakeChannel) return onNotification(channel, payload);
    if (payload === wakeFor.deliveries) return onDeliveries();
    if (payload === wakeFor.replays) return onReplays();
    if (payload === wakeFor.places) return onPlaces();
    if (payload === wakeFor.destinations) return onDestinations();
    onEvents();
  }

  /** What was notified before is lost: look into the tables. */
  #connected(): void {
    // A connection that was lost unnoticed, between two reports, is a gap all the same.
    this.#options.onDeaf();
    this.#options.onListening(this.#channels);
    this.#options.telemetry({ type: 'listener.connected' });
    this.#options.onReplays();
    this.#options.onDestinations();
    this.#options.onDeliveries();
  }
}

/** Marks cost something only where there are channels to record. */
function allOf(channels: readonly string[]): string[] {
  return channels.length === 0 ? [wakeChannel] : [wakeChannel, markChannel, ...channels];
}
