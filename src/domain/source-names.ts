import type { EventRecord } from './event.ts';
import type { Source } from './rules.ts';

/**
 * `observers.emit` records its topic, for it can't know the file. Conditions, templates, receivers and logs are to see
 * what the file calls the source of that topic: every event that leaves the log goes through here, once.
 */
export class SourceNames {
  readonly #byTopic = new Map<string, string>();

  constructor(sources: Iterable<Source>) {
    for (const source of sources) if (source.kind === 'topic') this.#byTopic.set(source.topic, source.name);
  }

  /** The event as the file names it; one of a topic that the file doesn't know stays as it is. */
  inFile(stored: EventRecord): EventRecord {
    const name = stored.operation === 'emit' ? this.#byTopic.get(stored.source) : undefined;
    return name === undefined || name === stored.source ? stored : { ...stored, source: name };
  }
}
