/**
 * The rules at hand against events of the past: who would fire, and who did. Pure; reading is the caller's.
 */
import type { EventRecord } from '../domain/event.ts';
import type { Observer } from '../domain/rules.ts';
import { decide } from '../pipeline/decide/decide.ts';
import type { RuleIndex } from '../pipeline/decide/rule-index.ts';

export interface ObserverTally {
  readonly observer: Observer;
  /** Events. */
  wouldFire: number;
  didFire: number;
  readonly onlyWould: Examples;
  readonly onlyDid: Examples;
  readonly faults: Examples & { message: string | null };
}

export interface Examples {
  count: number;
  /** The first few. */
  readonly events: Example[];
}

export type Example = Pick<EventRecord, 'id' | 'uid' | 'source' | 'operation' | 'key' | 'at'>;

const mostExamples = 5;

export class Backtest {
  readonly #rules: RuleIndex;
  readonly #tallies: ReadonlyMap<string, ObserverTally>;
  events = 0;

  /** @param observers those to be told of */
  constructor(rules: RuleIndex, observers: readonly Observer[]) {
    this.#rules = rules;
    const none = (): Examples => ({ count: 0, events: [] });
    this.#tallies = new Map(
      observers.map((observer) => [
        observer.name,
        {
          observer,
          wouldFire: 0,
          didFire: 0,
          onlyWould: none(),
          onlyDid: none(),
          faults: { ...none(), message: null },
        },
      ]),
    );
  }

  get tallies(): readonly ObserverTally[] {
    return [...this.#tallies.values()];
  }

  /** @param firedOn names of the observers that fired on the event then, maybe some twice */
  add(stored: readonly EventRecord[], firedOn: (eventId: string) => readonly string[]): void {
    this.events += stored.length;
    const { events, deliveries, faults, shadowed } = decide(stored, this.#rules);
    const firing = new Map<string, Set<string>>();
    for (const { event, observer } of deliveries) namesOf(firing, event.id).add(observer);
    for (const { scope, observer, fault } of shadowed) {
      if (fault === null) namesOf(firing, scope.record.id).add(observer.name);
      else this.#fault(scope.record, observer.name, fault);
    }
    for (const { event, observer, message } of faults) this.#fault(event, observer, message);
    for (const event of events) {
      const [would, did] = [firing.get(event.id), firedOn(event.id)];
      // Most events concern nobody, then and now.
      if (would !== undefined || did.length > 0) this.#compare(event, would ?? nobody, new Set(did));
    }
  }

  #compare(event: EventRecord, would: ReadonlySet<string>, did: ReadonlySet<string>): void {
    for (const name of would) {
      const tally = this.#tallies.get(name);
      if (tally === undefined) continue;
      tally.wouldFire += 1;
      if (!did.has(name)) note(tally.onlyWould, event);
    }
    for (const name of did) {
      const tally = this.#tallies.get(name);
      if (tally === undefined) continue;
      tally.didFire += 1;
      if (!would.has(name)) note(tally.onlyDid, event);
    }
  }

  #fault(event: EventRecord, observer: string, message: string): void {
    const faults = this.#tallies.get(observer)?.faults;
    if (faults === undefined) return;
    faults.message ??= message;
    note(faults, event);
  }
}

const nobody: ReadonlySet<string> = new Set();

function namesOf(firing: Map<string, Set<string>>, id: string): Set<string> {
  const names = firing.get(id) ?? new Set();
  firing.set(id, names);
  return names;
}

function note(examples: Examples, { id, uid, source, operation, key, at }: EventRecord): void {
  examples.count += 1;
  if (examples.events.length === mostExamples) return;
  // A copy, for a part of a text that was read would keep the whole page in memory.
  examples.events.push(JSON.parse(JSON.stringify({ id, uid, source, operation, key, at })));
}
