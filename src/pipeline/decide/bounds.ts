import type { Bound, Fact } from '../../expression/index.ts';

interface Held {
  readonly bound: Bound;
  readonly place: number;
}

/** Of one type, whose values have an order. */
interface Sorted {
  readonly held: Held[];
  /** Of `held`, in its order; null: since the last look one was added. */
  places: readonly number[] | null;
}

/**
 * Places of observers by the least, or the most, that a value may be. Those that one keeps to are the first of a sorted list:
 * thousands of others cost a binary search.
 */
export class Bounds {
  readonly #numbers: Sorted = { held: [], places: [] };
  readonly #texts: Sorted = { held: [], places: [] };
  readonly #keeps: (value: Bound, bound: Bound) => boolean;

  constructor(relation: 'atLeast' | 'atMost') {
    this.#keeps = relation === 'atLeast' ? (value, bound) => value >= bound : (value, bound) => value <= bound;
  }

  add(bound: Bound, place: number): void {
    const sorted = typeof bound === 'string' ? this.#texts : this.#numbers;
    sorted.held.push({ bound, place });
    sorted.places = null;
  }

  /**
   * Adds to `found` those whose bound this value keeps to, and those with whose bounds it can't be compared: an error, which is
   * theirs to make. Null is in no order with anything, and no error.
   */
  keptBy(value: Fact['value'], found: (readonly number[])[]): void {
    if (value === null) return;
    this.#find(this.#numbers, typeof value === 'number' || typeof value === 'bigint' ? value : null, found);
    this.#find(this.#texts, typeof value === 'string' ? value : null, found);
  }

  #find(sorted: Sorted, value: Bound | null, found: (readonly number[])[]): void {
    const { held } = sorted;
    if (held.length === 0) return;
    const places = sorted.places ?? this.#sort(sorted);
    const count = value === null ? held.length : this.#countKept(held, value);
    if (count > 0) found.push(count === held.length ? places : places.slice(0, count));
  }

  /** The bound that is easiest to keep first. */
  #sort(sorted: Sorted): readonly number[] {
    sorted.held.sort((a, b) => (a.bound === b.bound ? 0 : this.#keeps(b.bound, a.bound) ? -1 : 1));
    sorted.places = sorted.held.map(({ place }) => place);
    return sorted.places;
  }

  #countKept(held: readonly Held[], value: Bound): number {
    let low = 0;
    let high = held.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = held[middle];
      if (at !== undefined && this.#keeps(value, at.bound)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
