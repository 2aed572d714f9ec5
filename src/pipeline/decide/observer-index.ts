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
import { Bounds } from './bounds.ts';

type Value = Fact['value'];

/** Places in the file of the observers that want something of one subject. */
interface Shelf {
  readonly subject: Subject;
  readonly is: Map<Value, number[]>;
  readonly atLeast: Bounds;
  readonly atMost: Bounds;
}

export class ObserverIndex {
  readonly #all: readonly Observer[];
  readonly #shelves: readonly Shelf[];
  /** Those that nothing rules out, as bits by place. */
  readonly #always: Uint32Array;
  readonly #alwaysObservers: readonly Observer[];
  /** Those of one event: bits bring several lists into the order of the file, and each observer once, without sorting. */
  readonly #found: Uint32Array;

  /** @param observers in the order of the file, in which candidates come too */
  constructor(observers: readonly Observer[]) {
    const requirements = observers.map((observer) => requirementsOf(observer.when));
    const sharing = new Sharing(requirements.flat(2));
    const shelves = new Map<string, Shelf>();
    const always: number[] = [];
    for (const [place, required] of requirements.entries()) {
      const rarest = sharing.rarestOf(required);
      if (rarest === null) always.push(place);
      else for (const fact of rarest) file(shelves, fact, place);
    }
    this.#all = observers;
    this.#shelves = [...shelves.values()];
    this.#found = new Uint32Array(Math.ceil(observers.length / 32));
    this.#always = new Uint32Array(this.#found.length);
    mark(this.#always, always);
    this.#alwaysObservers = this.#at(this.#always);
  }

  candidates(scope: Scope): readonly Observer[] {
    const found: (readonly number[])[] = [];
    for (const { subject, is, atLeast, atMost } of this.#shelves) {
      const values = valuesOf(subject, scope);
      // It may be anything: no need to look further.
      if (values === undefined) return this.#all;
      for (const value of values) {
        const listed = is.get(value);
        if (listed !== undefined) found.push(listed);
        atLeast.keptBy(value, found);
        atMost.keptBy(value, found);
      }
    }
    if (found.length === 0) return this.#alwaysObservers;
    this.#found.set(this.#always);
    for (const places of found) mark(this.#found, places);
    return this.#at(this.#found);
  }

  #at(marked: Uint32Array): readonly Observer[] {
    const observers: Observer[] = [];
    for (let word = 0; word < marked.length; word++) {
      for (let bits = marked[word] ?? 0; bits !== 0; bits &= bits - 1) {
        const observer = this.#all[word * 32 + 31 - Math.clz32(bits & -bits)];
        if (observer !== undefined) observers.push(observer);
      }
    }
    return observers;
  }
}

function mark(bits: Uint32Array, places: readonly number[]): void {
  for (const place of places) bits[place >>> 5] = (bits[place >>> 5] ?? 0) | (1 << (place & 31));
}

/** An image that can't be read is a fault of each condition that reads it, which evaluation tells best. */
function valuesOf(subject: Subject, scope: Scope): readonly Value[] | undefined {
  try {
    return subject.read(scope);
  } catch {
    return undefined;
  }
}

/** How many observers an event that meets a fact has to be shown to. */
class Sharing {
  readonly #counts = new Map<string, Map<Value, number>>();

  constructor(facts: readonly Fact[]) {
    for (const fact of facts) {
      const [kind, value] = keyOf(fact);
      const ofKind = this.#counts.get(kind) ?? new Map<Value, number>();
      this.#counts.set(kind, ofKind.set(value, (ofKind.get(value) ?? 0) + 1));
    }
  }

  /** Among equals the first, which is quick to look up. */
  rarestOf(required: readonly Requirement[]): Requirement | null {
    let rarest: Requirement | null = null;
    let fewest = Number.POSITIVE_INFINITY;
    for (const requirement of required) {
      const sharing = requirement.reduce((sum, fact) => sum + this.#of(fact), 0);
      if (sharing < fewest) {
        rarest = requirement;
        fewest = sharing;
      }
    }
    return rarest;
  }

  /** Where a value lies among bounds is not known here: half of them, as if anywhere. */
  #of(fact: Fact): number {
    const [kind, value] = keyOf(fact);
    const count = this.#counts.get(kind)?.get(value) ?? 0;
    return fact.relation === 'is' ? count : Math.max(1, count / 2);
  }
}

/** Bounds of one subject and direction are one kind, whatever they are. */
function keyOf({ subject, relation, value }: Fact): [kind: string, value: Value] {
  return [`${relation} ${subject.name}`, relation === 'is' ? value : null];
}

function file(shelves: Map<string, Shelf>, fact: Fact, place: number): void {
  const { subject, relation, value } = fact;
  let shelf = shelves.get(subject.name);
  if (shelf === undefined) {
    shelf = { subject, is: new Map(), atLeast: new Bounds('atLeast'), atMost: new Bounds('atMost') };
    shelves.set(subject.name, shelf);
  }
  if (relation !== 'is') {
    shelf[relation].add(value, place);
    return;
  }
  const listed = shelf.is.get(value);
  if (listed === undefined) shelf.is.set(value, [place]);
  else listed.push(place);
}
