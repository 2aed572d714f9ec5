import type { EventRecord } from '../../domain/event.ts';
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
  readonly #indexes: ReadonlyMap<string, ObserverIndex>;
  readonly shadows: ShadowRenderer;

  constructor(config: Config) {
    this.#names = new SourceNames(config.sources.values());
    this.#byName = config.observers;
    this.shadows = new ShadowRenderer(config);
    const observers = new Map<string, Observer[]>();
    for (const observer of config.observers.values()) {
      for (const operation of observer.on) {
        const key = keyOf(observer.source.name, operation);
        const listed = observers.get(key);
        if (listed === undefined) observers.set(key, [observer]);
        else listed.push(observer);
      }
    }
    this.#indexes = new Map([...observers].map(([key, listed]) => [key, new ObserverIndex(listed)]));
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
    return this.#indexes.get(keyOf(event.source, event.operation))?.candidates(scope) ?? [];
  }

  observer(name: string): Observer | null {
    return this.#byName.get(name) ?? null;
  }
}

function keyOf(source: string, operation: string): string {
  return `${operation} ${source}`;
}
