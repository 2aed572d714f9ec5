/**
 * Pairs of event and observer, many of them: 8 bytes each, where a Set of texts takes a hundred. Filled first, then asked.
 */
export class FiredSet {
  readonly #names: readonly string[];
  readonly #observers: ReadonlyMap<string, number>;
  #pairs = new Float64Array(1024);
  #count = 0;
  #sorted = true;

  /** @param observers those that will be asked for; others are left out */
  constructor(observers: Iterable<string>) {
    this.#names = [...observers];
    this.#observers = new Map(this.#names.map((name, i) => [name, i]));
  }

  /** @param eventId digits, below 2^53 divided by the number of observers */
  add(eventId: string, observer: string): void {
    const index = this.#observers.get(observer);
    if (index === undefined) return;
    if (this.#count === this.#pairs.length) {
      const grown = new Float64Array(this.#count * 2);
      grown.set(this.#pairs);
      this.#pairs = grown;
    }
    this.#pairs[this.#count++] = Number(eventId) * this.#names.length + index;
    this.#sorted = false;
  }

  /** Names of the observers that fired on the event. */
  of(eventId: string): readonly string[] {
    if (this.#count === 0) return none;
    if (!this.#sorted) this.#pairs.subarray(0, this.#count).sort();
    this.#sorted = true;
    const first = Number(eventId) * this.#names.length;
    const found: string[] = [];
    for (let at = this.#lowerBound(first); at < this.#count; at += 1) {
      const name = this.#names[(this.#pairs[at] ?? 0) - first];
      if (name === undefined) break;
      if (found.at(-1) !== name) found.push(name);
    }
    return found;
  }

  #lowerBound(pair: number): number {
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#pairs[middle] ?? 0) < pair) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const none: readonly string[] = [];
