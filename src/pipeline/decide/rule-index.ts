import type { EventRecord, Operation } from '../../domain/event.ts';
import type { Scope } from '../../domain/expression.ts';
import type { Config, Observer } from '../../domain/rules.ts';
import { SourceNames } from '../../domain/source-names.ts';
import { createScope } from '../../expression/index.ts';
import { ObserverIndex } from './observer-index.ts';
import { ShadowRenderer } from './shadows.ts';

/** Finds the observers that can match an event by its source, its operation and what their conditions require of it. */
export class RuleIndex {
  readonly #names: SourceNames;
  readonly #byName: ReadonlyMap<string, Observer>;
  /** Not by a text of both: making one for each event takes longer than to look twice. */
  readonly #indexes: ReadonlyMap<Operation, ReadonlyMap<string, ObserverIndex>>;
  readonly shadows: ShadowRenderer;

  constructor(config: Config) {
    this.#names = new SourceNames(config.sources.values());
    this.#byName = config.observers;
    this.shadows = new ShadowRenderer(config);
    const listed = new Map<Operation, Map<string, Observer[]>>();
    for (const observer of config.observers.values()) {
      for (const operation of observer.on) {
        const bySource = entry(listed, operation, () => new Map<string, Observer[]>());
        entry(bySource, observer.source.name, () => []).push(observer);
      }
    }
    this.#indexes = mapped(listed, (bySource) => mapped(bySource, (observers) => new ObserverIndex(observers)));
  }

  /** The stored event under the source's name in the file. */
  named(stored: EventRecord): EventRecord {
    return this.#names.inFile(stored);
  }

  /**
   * In the order of the file; the others would neither fire nor fail.
   * @param event as `named` returned it
   */
  candidates(event: EventRecord, scope: Scope = createScope(event)): readonly Observer[] {
    return this.#indexes.get(event.operation)?.get(event.source)?.candidates(scope) ?? [];
  }

  observer(name: string): Observer | null {
    return this.#byName.get(name) ?? null;
  }
}

function entry<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const found = map.get(key) ?? make();
  map.set(key, found);
  return found;
}

function mapped<Key, From, To>(map: ReadonlyMap<Key, From>, change: (value: From) => To): ReadonlyMap<Key, To> {
  return new Map([...map].map(([key, value]) => [key, change(value)]));
}
