import type { EventRecord } from '../../domain/event.ts';
import type { Config, Observer, Source } from '../../domain/rules.ts';

/** Finds the observers that can match an event by its source and operation, without looking at the others. */
export class RuleIndex {
  readonly #observers = new Map<string, Observer[]>();

  constructor(config: Config) {
    for (const observer of config.observers.values()) {
      for (const operation of observer.on) {
        const key = keyOf(storedSource(observer.source), operation);
        const listed = this.#observers.get(key);
        if (listed === undefined) this.#observers.set(key, [observer]);
        else listed.push(observer);
      }
    }
  }

  candidates(event: EventRecord): readonly Observer[] {
    return this.#observers.get(keyOf(event.source, event.operation)) ?? [];
  }
}

/** `observers.emit` knows its topic, not what the file calls the source that listens to it. */
function storedSource(source: Source): string {
  return source.kind === 'topic' ? source.topic : source.name;
}

function keyOf(source: string, operation: string): string {
  return `${operation} ${source}`;
}
