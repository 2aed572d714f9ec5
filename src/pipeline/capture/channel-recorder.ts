/**
 * Stage 1 for channel sources: a notification becomes an event the moment it is heard.
 *
 * PostgreSQL keeps no notification for an absent listener; that is why the other two kinds of source exist. But all instances
 * hear the same ones in the same order. One records a channel, and writes with the events how far it came; the others
 * keep what they heard and do not find recorded yet. When the place is free, another one takes it and goes on from there.
 *
 * The place is a lock and only saves work: what counts is the position, compared and swapped with every write. A recorder
 * that was frozen and wakes up finds another version there, and writes nothing.
 */

import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../../domain/rules.ts';
import type { Telemetry } from '../../domain/telemetry.ts';
import type { ChannelBatch, NotificationLog, StoredPosition } from '../../transport/contract.ts';
import { StageLoop } from '../stage-loop.ts';
import { Announcements } from './announcements.ts';
import { ChannelMemory, type Heard, type MemoryBounds } from './channel-memory.ts';
import { Seamless } from './seamless.ts';

export interface ChannelRecorderOptions {
  readonly openLog: () => Promise<NotificationLog>;
  readonly onEvents: () => void;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
  readonly memory?: MemoryBounds;
}

/** How often a free place is looked for, and what others recorded is forgotten. */
const lookEveryMs = 500;
/** The same, while a death would lose what was notified just before this process began to listen. */
const hurriedMs = 50;
/** How often a recorder with nothing to do finds out whether its session still is. */
const restMs = 2_000;
const largestBatch = 1_000;
const defaultMemory: MemoryBounds = { notifications: 200_000, bytes: 64 * 1024 * 1024 };

interface Hold extends StoredPosition {
  /** What the table says is further back, or told from an older mark. */
  readonly storedMark: number;
  /** Skipped since then, as memory did not hold them any more. */
  readonly lost: number;
}

export class ChannelRecorder {
  readonly #options: ChannelRecorderOptions;
  readonly #loop: StageLoop;
  readonly #memory: ChannelMemory;
  readonly #announcements = new Announcements();
  readonly #seamless = new Seamless();
  #sources: ReadonlyMap<string, readonly string[]> = new Map();
  #log: NotificationLog | null = null;
  /** How far the channels are recorded that we hold. */
  readonly #held = new Map<string, Hold>();
  /** Those that we held last, also while the database is away: nobody else is known to record them. */
  readonly #ours = new Set<string>();
  #published: ReadonlyMap<string, number> = new Map();
  #lookAt = 0;

  constructor(options: ChannelRecorderOptions) {
    this.#options = options;
    this.#memory = new ChannelMemory(options.memory ?? defaultMemory);
    this.#loop = new StageLoop({
      name: 'capture',
      round: () => this.#round(),
      recover: () => this.#close(),
      telemetry: options.telemetry,
      isTransient: options.isTransient,
    });
  }

  load(config: Config): void {
    const sources = new Map<string, string[]>();
    for (const source of config.sources.values()) {
      if (source.kind !== 'channel') continue;
      sources.set(source.channel, [...(sources.get(source.channel) ?? []), source.name]);
    }
    this.#memory.end([...this.#sources.keys()].filter((channel) => !sources.has(channel)));
    this.#sources = sources;
    this.#seamless.want([...sources.keys()]);
    this.look();
  }

  start(): void {
    this.#loop.start();
  }

  /** LISTEN was answered for these channels: to be told in the order of all notifications by a mark. */
  listening(channels: readonly string[]): void {
    this.#announcements.want(channels.filter((channel) => !this.#memory.listensTo(channel)));
    this.#loop.ring();
  }

  /** The connection is lost, and with it what is notified from now on. */
  deafened(): void {
    this.#memory.end();
    this.#seamless.lose();
    this.#announcements.clear();
  }

  /** Resolves when nothing would be lost if the others died, or after `ms`: notifications may not arrive at all. */
  ready(ms: number): Promise<void> {
    return this.#seamless.complete(ms);
  }

  /** For readiness; null when there is nothing to complain about. */
  complaint(): string | null {
    const missing = this.#seamless.missing.join(', ');
    return missing === ''
      ? null
      : `channels ${missing}: what was notified before this instance listened is not recorded yet`;
  }

  hearMark(payload: string): void {
    const [number = '', token = ''] = payload.split(' ');
    const mark = Number(number);
    if (!Number.isSafeInteger(mark) || mark <= 0) return;
    this.#memory.mark(mark);
    for (const channel of this.#announcements.answer(token)) this.#memory.begin(channel, mark);
    this.look();
  }

  hear(channel: string, payload: string): void {
    const sources = this.#sources.get(channel);
    if (sources === undefined) return;
    this.#memory.hear(channel, sources, payload);
    const bytes = Buffer.byteLength(payload);
    for (const source of sources) this.#options.telemetry({ type: 'capture.notification', source, bytes });
    if (this.#held.has(channel)) this.#loop.ring();
    else if (this.#memory.crowded) this.look();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#recordTheRest();
    await this.#log?.publish(new Map()).catch(() => {});
    await this.#close();
  }

  /** There may be a free place. */
  look(): void {
    this.#lookAt = 0;
    this.#loop.ring();
  }

  async #round(): Promise<number> {
    if (this.#sources.size === 0 && this.#held.size === 0) {
      if (this.#published.size > 0) await this.#log?.publish(new Map());
      await this.#close();
      return Number.POSITIVE_INFINITY;
    }
    this.#log ??= await this.#options.openLog();
    const log = this.#log;
    await this.#announcements.send(log);
    if (performance.now() >= this.#lookAt) await this.#lookAround(log);
    const recorded = await this.#record(log);
    await this.#publish(log);
    if (recorded > 0) return 0;
    return Math.max(1, Math.min(this.#lookAt, this.#announcements.dueAt) - performance.now());
  }

  /** What others recorded need not be kept, and what nobody records any more is ours to record. */
  async #lookAround(log: NotificationLog): Promise<void> {
    const others = [...this.#sources.keys()].filter((channel) => !this.#held.has(channel));
    for (const [channel, position] of await log.look([...this.#sources.keys()])) {
      if (this.#held.has(channel)) continue;
      this.#memory.forget(channel, position);
      this.#seamless.recorded(channel, position.mark, this.#memory.listensSince(channel));
    }
    const known = others.filter((channel) => this.#memory.knows(channel));
    for (const [channel, position] of known.length === 0 ? [] : await log.take(known)) {
      this.#held.set(channel, { ...position, storedMark: position.mark, lost: 0 });
      this.#options.telemetry({ type: 'channel.acquired', channel });
    }
    const pauseMs = this.#seamless.missing.length > 0 ? hurriedMs : lookEveryMs;
    this.#lookAt = performance.now() + (this.#held.size === this.#sources.size ? restMs : pauseMs);
    this.#ours.clear();
    for (const channel of this.#held.keys()) this.#ours.add(channel);
  }

  /**
   * One batch of all channels held, in the order in which it was heard. A mark is told of also when nothing came after it: who
   * sent it waits for that. @returns how many notifications
   */
  async #record(log: NotificationLog): Promise<number> {
    const heard = await this.#gather(log);
    const batches = this.#batchesOf(heard);
    if (batches.length === 0) return 0;
    const notifications = heard.flatMap(({ channel, one }) =>
      one.sources.map((source) => ({ channel, source, payload: one.payload })),
    );
    const written = await log.record(batches, notifications);
    for (const batch of batches) {
      if (written.has(batch.channel)) this.#advance(batch);
      else await this.#leave(log, batch.channel, 'another process recorded it');
    }
    if (written.size < batches.length) this.#lookAt = 0;
    if (notifications.length > 0) this.#options.onEvents();
    return heard.length;
  }

  #advance({ channel, version, reaches }: ChannelBatch): void {
    const count = this.#held.get(channel)?.lost ?? 0;
    if (count > 0) this.#options.telemetry({ type: 'capture.lost', channel, count });
    const next = String(BigInt(version) + 1n);
    this.#held.set(channel, { ...reaches, version: next, storedMark: reaches.mark, lost: 0 });
    this.#memory.forget(channel, reaches);
    this.#seamless.recorded(channel, reaches.mark, this.#memory.listensSince(channel));
  }

  async #gather(log: NotificationLog): Promise<{ channel: string; one: Heard }[]> {
    const heard: { channel: string; one: Heard }[] = [];
    for (const channel of [...this.#held.keys()]) {
      for (const one of await this.#next(log, channel)) heard.push({ channel, one });
    }
    return heard.sort((a, b) => a.one.number - b.one.number).slice(0, largestBatch);
  }

  /**
   * What follows the position of a channel that we hold. Behind a gap, where nobody listens who heard more, the next that we
   * know is the best there is.
   */
  async #next(log: NotificationLog, channel: string): Promise<readonly Heard[]> {
    for (;;) {
      const position = this.#held.get(channel);
      if (position === undefined) return [];
      const next = this.#memory.next(channel, position, largestBatch);
      if (next.kind === 'heard') {
        if (next.lost > 0 && next.notifications.length > 0) this.#skip(channel, position, next.lost);
        return next.notifications;
      }
      if (next.until === null) await this.#leave(log, channel, 'nothing is heard any more');
      else if (await log.heardByOthers(channel, next.until)) await this.#leave(log, channel, 'another one heard more');
      else this.#held.set(channel, { ...position, mark: next.until, count: 0 });
    }
  }

  /** What did not fit into memory. Said when it is final: what follows is written. */
  #skip(channel: string, position: Hold, count: number): void {
    this.#held.set(channel, {
      ...position,
      ...this.#memory.after(channel, position, count),
      lost: position.lost + count,
    });
  }

  #batchesOf(heard: readonly { channel: string }[]): ChannelBatch[] {
    const counts = new Map<string, number>();
    for (const { channel } of heard) counts.set(channel, (counts.get(channel) ?? 0) + 1);
    return [...this.#held].flatMap(([channel, hold]) => {
      const count = counts.get(channel) ?? 0;
      const reaches = this.#memory.after(channel, hold, count);
      return count > 0 || reaches.mark !== hold.storedMark ? [{ channel, version: hold.version, reaches }] : [];
    });
  }

  async #leave(log: NotificationLog, channel: string, reason: string): Promise<void> {
    this.#held.delete(channel);
    this.#options.telemetry({ type: 'channel.lost', channel, reason });
    if (!this.#sources.has(channel)) this.#memory.drop(channel);
    await log.giveBack([channel]);
  }

  /** Tells the others what we know, so that none of them goes on behind a gap that we could fill. */
  async #publish(log: NotificationLog): Promise<void> {
    // What was announced is written already, and stays until its mark has had time to come back.
    if (this.#announcements.waiting) return;
    for (const channel of this.#memory.since().keys()) {
      if (!this.#sources.has(channel) && !this.#held.has(channel)) this.#memory.drop(channel);
    }
    const since = this.#memory.since();
    if (isDeepStrictEqual(since, this.#published)) return;
    await log.publish(since);
    this.#published = since;
  }

  /** All that was heard, however many batches. What the database refuses now is lost, and that is said. */
  async #recordTheRest(): Promise<void> {
    if (this.#memory.kept(this.#ours) === 0) return;
    try {
      this.#log ??= await this.#options.openLog();
      await this.#lookAround(this.#log);
      while ((await this.#record(this.#log)) > 0);
    } catch (error) {
      const message = `${this.#memory.kept(this.#ours)} notifications were heard and could not be recorded before the end`;
      this.#options.telemetry({ type: 'stage.failed', stage: 'capture', error: new Error(message, { cause: error }) });
    }
  }

  async #close(): Promise<void> {
    const log = this.#log;
    this.#log = null;
    this.#held.clear();
    this.#lookAt = 0;
    // A failed statement may have been carried out or not: say again what we know.
    this.#published = new Map();
    await log?.close();
  }
}
