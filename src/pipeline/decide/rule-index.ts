import type { EventRecord } from '../../domain/event.ts';
import type { Config, Observer } from '../../domain/rules.ts';
import { SourceNames } from '../../domain/source-names.ts';

/** Finds the observers that can match an event by its source and operation, without looking at the others. */
export class RuleIndex {
  readonly #names: SourceNames;
  readonly #byName: ReadonlyMap<string, Observer>;
  readonly #observers = new Map<string, Observer[]>();

  constructor(config: Config) {
    this.#names = new SourceNames(config.sources.values());
    this.#byName = config.observers;
    for (const observer of config.observers.values()) {
      for (const operation of observer.on) {
        const key = keyOf(observer.source.name, operation);
        const listed = this.#observers.get(key);
        if (listed === undefined) this.#observers.set(key, [observer]);
        else listed.push(observer);
      }
    }
  }

  /** The stored event under the source's name in the file. */
  named(stored: EventRecord): EventRecord {
    return this.#names.inFile(stored);
  }

  /** @param event as `named` returned it */
  candidates(event: EventRecord): readonly Observer[] {
    return this.#observers.get(keyOf(event.source, event.operation)) ?? [];
  }

  observer(name: string): Observer | null {
    return this.#byName.get(name) ?? null;
  }
}

function keyOf(source: string, operation: string): string {
  return `${operation} ${source}`;
}
