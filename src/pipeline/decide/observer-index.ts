/**
 * Finds, among the observers of one source and operation, those that an event may concern, without evaluating the others.
 *
 * Each observer is filed under one requirement of its condition: the one whose facts the fewest others share, so that ten
 * thousand observers of a tenant each are found by tenant, whatever else their conditions have in common. Those whose
 * condition requires nothing that can be looked up are always among the candidates.
 *
 * A candidate is still evaluated: this finds too many, never too few (expression/requirement.ts says why).
 */

import type { Scope } from '../../domain/expression.ts';
import type { Observer } from '../../domain/rules.ts';
import { type Fact, type Requirement, requirementsOf, type Subject } from '../../expression/index.ts';

type Value = Fact['value'];

/** An observer and its place in the file. */
interface Entry {
  readonly place: number;
  readonly observer: Observer;
}

/** Entries by what they want of one subject, each list in the order of the file. */
interface Shelf {
  readonly subject: Subject;
  readonly entries: Map<Value, Entry[]>;
}

export class ObserverIndex {
  readonly #all: readonly Observer[];
  readonly #always: readonly Entry[];
  readonly #alwaysObservers: readonly Observer[];
  readonly #shelves: readonly Shelf[];

  /** @param observers in the order of the file, in which candidates come too */
  constructor(observers: readonly Observer[]) {
    const requirements = observers.map((observer) => requirementsOf(observer.when));
    const counts = countFacts(requirements);
    const shelves = new Map<string, Shelf>();
    const always: Entry[] = [];
    for (const [place, observer] of observers.entries()) {
      const rarest = rarestOf(requirements[place] ?? [], counts);
      if (rarest === null) always.push({ place, observer });
      else for (const fact of rarest) file(shelves, fact, { place, observer });
    }
    this.#all = observers;
    this.#always = always;
    this.#alwaysObservers = always.map(({ observer }) => observer);
    this.#shelves = [...shelves.values()];
  }

  candidates(scope: Scope): readonly Observer[] {
    const found: (readonly Entry[])[] = [];
    for (const { subject, entries } of this.#shelves) {
      const values = valuesOf(subject, scope);
      // It may be anything: no need to look further.
      if (values === undefined) return this.#all;
      for (const value of values) {
        const listed = entries.get(value);
        if (listed !== undefined) found.push(listed);
      }
    }
    return found.length === 0 ? this.#alwaysObservers : merged(this.#always, inOrder(found));
  }
}

/** One list of what may be in several, by two facts of one requirement. */
function inOrder(lists: readonly (readonly Entry[])[]): readonly Entry[] {
  const [only] = lists;
  return lists.length === 1 && only !== undefined ? only : lists.flat().sort((a, b) => a.place - b.place);
}

/** The observers of two lists in order, each once. */
function merged(always: readonly Entry[], found: readonly Entry[]): Observer[] {
  const observers: Observer[] = [];
  let next = 0;
  let last = -1;
  for (const { place, observer } of found) {
    if (place === last) continue;
    last = place;
    for (let other = always[next]; other !== undefined && other.place < place; other = always[next]) {
      observers.push(other.observer);
      next += 1;
    }
    observers.push(observer);
  }
  for (; next < always.length; next++) {
    const other = always[next];
    if (other !== undefined) observers.push(other.observer);
  }
  return observers;
}

/** An image that can't be read is a fault of each condition that reads it, which evaluation tells best. */
function valuesOf(subject: Subject, scope: Scope): readonly Value[] | undefined {
  try {
    return subject.read(scope);
  } catch {
    return undefined;
  }
}

type Counts = Map<string, Map<Value, number>>;

function countFacts(requirements: readonly (readonly Requirement[])[]): Counts {
  const counts: Counts = new Map();
  for (const { subject, value } of requirements.flat(2)) {
    const ofSubject = counts.get(subject.name) ?? new Map<Value, number>();
    counts.set(subject.name, ofSubject.set(value, (ofSubject.get(value) ?? 0) + 1));
  }
  return counts;
}

/** Among equals the first, which is quick to look up. */
function rarestOf(required: readonly Requirement[], counts: Counts): Requirement | null {
  let rarest: Requirement | null = null;
  let fewest = Number.POSITIVE_INFINITY;
  for (const requirement of required) {
    const sharing = requirement.reduce(
      (sum, { subject, value }) => sum + (counts.get(subject.name)?.get(value) ?? 0),
      0,
    );
    if (sharing < fewest) {
      rarest = requirement;
      fewest = sharing;
    }
  }
  return rarest;
}

function file(shelves: Map<string, Shelf>, { subject, value }: Fact, entry: Entry): void {
  let shelf = shelves.get(subject.name);
  if (shelf === undefined) {
    shelf = { subject, entries: new Map() };
    shelves.set(subject.name, shelf);
  }
  const listed = shelf.entries.get(value);
  if (listed === undefined) shelf.entries.set(value, [entry]);
  else listed.push(entry);
}
