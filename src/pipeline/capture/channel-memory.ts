/**
 * What this process heard on its channels and does not know to be recorded.
 *
 * All listeners hear the same notifications in the same order, so a position (mark, count) means the same to everybody who
 * heard the mark. What one connection heard is a stretch without gaps, counted from its own first mark; a lost connection
 * ends it, and the next one begins another.
 *
 * A position is always written with the newest mark that its writer had heard before it. So when a position names a mark that is
 * older than the first of a stretch, its writer had not heard that first mark yet: nothing of the stretch is recorded.
 * That is why an instance that knows nothing of the past may begin with everything since its own first mark.
 */

import type { ChannelPosition } from '../../transport/contract.ts';

export interface Heard {
  /** Counts what this process heard, over all channels. */
  readonly number: number;
  readonly sources: readonly string[];
  readonly payload: string;
  readonly bytes: number;
}

export interface MemoryBounds {
  readonly notifications: number;
  readonly bytes: number;
}

/** What follows a position. */
export type Next =
  /** `lost`: so many came before these and did not fit into memory. Empty: nothing more was heard so far. */
  | { readonly kind: 'heard'; readonly notifications: readonly Heard[]; readonly lost: number }
  /** Others may know what follows; here, only what came after the mark `until` is known. null: not even that. */
  | { readonly kind: 'gap'; readonly until: number | null };

interface Stretch {
  readonly since: number;
  /** In order, with how many notifications of the channel had been heard before each. */
  readonly marks: { readonly mark: number; readonly at: number }[];
  heard: number;
  /** The newest of them. */
  kept: Heard[];
  ended: boolean;
}

interface Place {
  readonly stretch: Stretch;
  readonly index: number;
  /** How many notifications of the stretch lie before it; infinite when it is behind all that was heard. */
  readonly ordinal: number;
}

/** A notification costs about so much beside its payload. */
const overheadBytes = 200;

export class ChannelMemory {
  readonly #bounds: MemoryBounds;
  readonly #stretches = new Map<string, Stretch[]>();
  #number = 0;
  #notifications = 0;
  #bytes = 0;

  constructor(bounds: MemoryBounds) {
    this.#bounds = bounds;
  }

  get notifications(): number {
    return this.#notifications;
  }

  /** More than half of what may be kept. */
  get crowded(): boolean {
    return this.#notifications > this.#bounds.notifications / 2 || this.#bytes > this.#bounds.bytes / 2;
  }

  knows(channel: string): boolean {
    return this.#stretches.has(channel);
  }

  listensTo(channel: string): boolean {
    return this.#open(channel) !== null;
  }

  /** The mark from which on the connection of now hears the channel. */
  listensSince(channel: string): number | null {
    return this.#open(channel)?.since ?? null;
  }

  /** Since which mark each channel is known. */
  since(): Map<string, number> {
    return new Map([...this.#stretches].map(([channel, [first]]) => [channel, first?.since ?? 0]));
  }

  /** How many are kept of these channels. */
  kept(channels: Iterable<string>): number {
    let count = 0;
    for (const channel of channels) for (const { kept } of this.#stretches.get(channel) ?? []) count += kept.length;
    return count;
  }

  /** Our own mark came back: from here on nothing of the channel is missed. */
  begin(channel: string, mark: number): void {
    if (this.listensTo(channel)) return;
    const stretch: Stretch = { since: mark, marks: [{ mark, at: 0 }], heard: 0, kept: [], ended: false };
    this.#stretches.set(channel, [...(this.#stretches.get(channel) ?? []), stretch]);
  }

  /** Anybody's mark. */
  mark(mark: number): void {
    for (const channel of this.#stretches.keys()) {
      const stretch = this.#open(channel);
      stretch?.marks.push({ mark, at: stretch.heard });
    }
  }

  hear(channel: string, sources: readonly string[], payload: string): void {
    const stretch = this.#open(channel);
    if (stretch === null) return;
    const bytes = Buffer.byteLength(payload) + overheadBytes;
    stretch.heard += 1;
    stretch.kept.push({ number: ++this.#number, sources, payload, bytes });
    this.#notifications += 1;
    this.#bytes += bytes;
    while (this.#notifications > this.#bounds.notifications || this.#bytes > this.#bounds.bytes) this.#dropOldest();
  }

  /** The connection is lost: what follows is another stretch. */
  end(channels: Iterable<string> = [...this.#stretches.keys()]): void {
    for (const channel of channels) {
      const stretch = this.#open(channel);
      if (stretch !== null) stretch.ended = true;
    }
  }

  /** At most `limit` notifications behind the position. */
  next(channel: string, position: ChannelPosition, limit: number): Next {
    const stretches = this.#stretches.get(channel) ?? [];
    const place = this.#find(channel, position);
    if (place === null) return { kind: 'gap', until: stretches[0]?.since ?? null };
    const { stretch, ordinal, index } = place;
    if (ordinal >= stretch.heard) {
      if (!stretch.ended) return { kind: 'heard', notifications: [], lost: 0 };
      return { kind: 'gap', until: stretches[index + 1]?.since ?? null };
    }
    const first = stretch.heard - stretch.kept.length;
    const skip = Math.max(0, ordinal - first);
    const notifications = stretch.kept.slice(skip, skip + limit);
    return { kind: 'heard', notifications, lost: Math.max(0, first - ordinal) };
  }

  /** The position so many notifications behind a known one, told from the newest mark that is not behind it. */
  after(channel: string, position: ChannelPosition, notifications: number): ChannelPosition {
    const place = this.#find(channel, position);
    if (place === null) throw new Error(`the mark ${position.mark} is not known`);
    const ordinal = place.ordinal + notifications;
    // Behind all that was heard: whoever wrote it heard more.
    if (ordinal > place.stretch.heard) return position;
    const newest = place.stretch.marks.findLast(({ at }) => at <= ordinal);
    if (newest === undefined) throw new Error(`no mark is known before the notification ${ordinal}`);
    return { mark: newest.mark, count: ordinal - newest.at };
  }

  /** The channel is recorded up to here. */
  forget(channel: string, position: ChannelPosition): void {
    const place = this.#find(channel, position);
    if (place === null) return;
    const { stretch, ordinal, index } = place;
    const first = stretch.heard - stretch.kept.length;
    this.#release(stretch, Math.min(stretch.kept.length, Math.max(0, ordinal - first)));
    const named = stretch.marks.findIndex(({ mark }) => mark === position.mark);
    if (named > 0) stretch.marks.splice(0, named);
    this.#keepFrom(channel, stretch.ended && ordinal >= stretch.heard ? index + 1 : index);
  }

  drop(channel: string): void {
    this.#keepFrom(channel, Number.POSITIVE_INFINITY);
  }

  #open(channel: string): Stretch | null {
    const last = this.#stretches.get(channel)?.at(-1);
    return last === undefined || last.ended ? null : last;
  }

  /** The newest stretch first: a failover that lost transactions may give out the numbers of some marks again. */
  #find(channel: string, { mark, count }: ChannelPosition): Place | null {
    const stretches = this.#stretches.get(channel) ?? [];
    const index = stretches.findLastIndex(({ since }) => since <= mark);
    const stretch = stretches[index];
    if (stretch === undefined) return null;
    const named = stretch.marks.find((one) => one.mark === mark);
    return { stretch, index, ordinal: named === undefined ? Number.POSITIVE_INFINITY : named.at + count };
  }

  #keepFrom(channel: string, index: number): void {
    const stretches = this.#stretches.get(channel) ?? [];
    for (const gone of stretches.slice(0, index)) this.#release(gone, gone.kept.length);
    const rest = stretches.slice(index);
    if (rest.length > 0) this.#stretches.set(channel, rest);
    else this.#stretches.delete(channel);
  }

  #release(stretch: Stretch, count: number): void {
    if (count === 0) return;
    for (const { bytes } of stretch.kept.slice(0, count)) this.#bytes -= bytes;
    this.#notifications -= count;
    stretch.kept = stretch.kept.slice(count);
  }

  /** An eighth at once: one by one would move the rest each time. */
  #dropOldest(): void {
    const stretches = [...this.#stretches.values()].flat().filter(({ kept }) => kept.length > 0);
    const oldest = stretches.reduce((a, b) => ((a.kept[0]?.number ?? 0) < (b.kept[0]?.number ?? 0) ? a : b));
    this.#release(oldest, Math.max(1, oldest.kept.length >> 3));
  }
}
