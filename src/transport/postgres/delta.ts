import type { EventRecord } from '../../domain/event.ts';

export interface FoundDelta {
  /** The snapshot it reaches up to. */
  readonly target: string;
  /** All its ids in order, or its first; `more`: it has others behind them. As PostgreSQL prints them. */
  readonly ids: readonly string[];
  /** Their times as elements of an array, quotes included. */
  readonly times: readonly string[];
  readonly more: boolean;
  /** A crash of the server would not lose its events. */
  readonly onDisk: boolean;
}

/** @returns the first events of these, in order; the bytes that may be in memory at once limit how many */
export type ReadSlice = (ids: readonly string[], times: readonly string[]) => Promise<readonly EventRecord[]>;

/** A slice that the server reads, or has read, before it is its turn. */
interface Ahead {
  readonly from: number;
  readonly events: Promise<readonly EventRecord[]>;
}

/**
 * What is new in the log, handed out slice by slice.
 *
 * While a slice is decided, the server reads the next one, on the same connection, and behind the commit of the first at once the one
 * after that. The commit then waits for a reading, but what is behind a whole slice is in no hurry. A connection of its own for it
 * was rejected: it would outlive the place of the router, and cost one more of the server's.
 */
export class Delta {
  readonly #found: FoundDelta;
  readonly #readSlice: ReadSlice;
  readonly #eventsPerSlice: number;
  /** How many ids are committed, and how many the slice that was handed out last comes up to. */
  #done = 0;
  #taken = 0;
  #ahead: Ahead | null = null;
  #behindAhead: Ahead | null = null;

  constructor(found: FoundDelta, eventsPerSlice: number, readSlice: ReadSlice) {
    this.#found = found;
    this.#eventsPerSlice = eventsPerSlice;
    this.#readSlice = readSlice;
  }

  get target(): string {
    return this.#found.target;
  }

  get onDisk(): boolean {
    return this.#found.onDisk;
  }

  /** All of its ids are committed; it may have `more` that it doesn't know. */
  get spent(): boolean {
    return this.#done === this.#found.ids.length;
  }

  /** Nothing of it is left once the slice in hand is committed. */
  get endsWithSlice(): boolean {
    return this.#taken === this.#found.ids.length && !this.#found.more;
  }

  /** The last id of the slice in hand; null when there is none. */
  get lastTaken(): string | null {
    return this.#found.ids[this.#taken - 1] ?? null;
  }

  /** The events behind what is committed: the same ones until `committed`. */
  async next(): Promise<readonly EventRecord[]> {
    const ahead = this.#ahead;
    this.#ahead = null;
    return this.take(ahead?.from === this.#done ? await ahead.events : await this.#read(this.#done));
  }

  /** For events that came with the delta. */
  take(events: readonly EventRecord[]): readonly EventRecord[] {
    this.#taken = this.#after(events, this.#done);
    this.#ahead = this.#behindAhead?.from === this.#taken ? this.#behindAhead : this.#readAhead(this.#taken);
    this.#behindAhead = null;
    return events;
  }

  /** The commit of the slice in hand is on its way: whatever is asked now is read when it is written. */
  committing(): void {
    const ahead = this.#ahead;
    if (ahead === null) return;
    const next = ahead.events.then((events) => {
      // Not when it is in hand already. And of large events two slices are enough for the memory.
      if (this.#ahead === ahead && events.length === this.#eventsPerSlice)
        this.#behindAhead = this.#readAhead(this.#after(events, ahead.from));
    });
    // Whoever takes the slice hears of it.
    next.catch(() => {});
  }

  committed(): void {
    this.#done = this.#taken;
  }

  /** How many ids these come up to. */
  #after(events: readonly EventRecord[], from: number): number {
    const { ids } = this.#found;
    const last = ids.indexOf(events.at(-1)?.id ?? '', from);
    if (last === -1) throw new Error(`events ${ids[from]} … vanished from the log before they were routed`);
    return last + 1;
  }

  #readAhead(from: number): Ahead | null {
    if (from >= this.#found.ids.length) return null;
    const events = this.#read(from);
    // Whoever takes them hears of a failure; so does the next statement on the connection.
    events.catch(() => {});
    return { from, events };
  }

  #read(from: number): Promise<readonly EventRecord[]> {
    const to = from + this.#eventsPerSlice;
    return this.#readSlice(this.#found.ids.slice(from, to), this.#found.times.slice(from, to));
  }
}

/** Of an array of PostgreSQL as text, whose elements hold no comma. */
export function elements(array: string | null): readonly string[] {
  return array === null ? [] : array.slice(1, -1).split(',');
}
