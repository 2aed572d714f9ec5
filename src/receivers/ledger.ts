/** What a receiver got, in order of arrival, with a way to await it: tests wait for signals, never for time. */
export class Ledger<Entry> {
  readonly #what: string;
  readonly #capacity: number;
  #entries: Entry[] = [];
  #total = 0;
  readonly #listeners = new Set<(entry: Entry) => void>();

  /**
   * @param what plural noun for messages, e.g. `webhooks`
   * @param capacity how many entries are kept; beyond that the oldest half goes, `total` still counts it
   */
  constructor(what: string, capacity: number = Number.POSITIVE_INFINITY) {
    this.#what = what;
    this.#capacity = capacity;
  }

  /** The kept entries, oldest first. */
  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** How many arrived since the start or the last `clear`. */
  get total(): number {
    return this.#total;
  }

  record(entry: Entry): void {
    this.#entries.push(entry);
    this.#total += 1;
    // Dropping half at once keeps recording O(1) amortized; `shift` on each arrival would not be.
    if (this.#entries.length > this.#capacity) this.#entries = this.#entries.slice(-Math.ceil(this.#capacity / 2));
    for (const listener of this.#listeners) listener(entry);
  }

  /** Calls back for every later arrival. Returns the function that ends it. */
  onArrival(listener: (entry: Entry) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Forgets everything; listeners stay. */
  clear(): void {
    this.#entries = [];
    this.#total = 0;
  }

  /** Resolves with all kept entries once `count` have arrived. @throws Error after `timeoutMs` */
  waitFor(count: number, timeoutMs?: number): Promise<readonly Entry[]>;
  /** Resolves with the first entry, past or future, that matches. @throws Error after `timeoutMs` */
  waitFor(matches: (entry: Entry) => boolean, timeoutMs?: number): Promise<Entry>;
  waitFor(
    wanted: number | ((entry: Entry) => boolean),
    timeoutMs = 10_000,
  ): Promise<readonly Entry[]> | Promise<Entry> {
    if (typeof wanted === 'number') {
      return this.#await(
        () => (this.#total >= wanted ? this.#entries : undefined),
        `${wanted} ${this.#what}`,
        timeoutMs,
      );
    }
    return this.#await((entry) => (entry ? [entry] : this.#entries).find(wanted), `matching ${this.#what}`, timeoutMs);
  }

  #await<T>(look: (arrived?: Entry) => T | undefined, wanted: string, timeoutMs: number): Promise<T> {
    const found = look();
    if (found !== undefined) return Promise.resolve(found);
    return new Promise<T>((resolve, reject) => {
      const stop = this.onArrival((entry) => {
        const match = look(entry);
        if (match === undefined) return;
        clearTimeout(timer);
        stop();
        resolve(match);
      });
      const timer = setTimeout(() => {
        stop();
        reject(new Error(`waited ${timeoutMs} ms for ${wanted}; ${this.#total} arrived in all`));
      }, timeoutMs);
    });
  }
}
