/** Why each observer of an event's source fires or does not. What is said to happen is what `decide` does. */

import type { EventRecord } from '../../domain/event.ts';
import type { Config, Observer } from '../../domain/rules.ts';
import { createScope, type Explained, explainCondition } from '../../expression/index.ts';
import { decide } from './decide.ts';
import { RuleIndex } from './rule-index.ts';

export interface ExplainedEvent {
  /** Under the names of the file. */
  readonly event: EventRecord;
  /** Those of the event's source, in the order of the file. */
  readonly observers: readonly ExplainedObserver[];
}

export interface ExplainedObserver {
  readonly observer: Observer;
  /** `fault`: it can't be told, and a dead letter says so. */
  readonly verdict: 'fires' | 'silent' | 'fault';
  /** Whether it listens to this operation at all; when not, its condition is not evaluated. */
  readonly listens: boolean;
  /** null: none, or not evaluated. */
  readonly condition: Explained | null;
  readonly fault: string | null;
}

export function explainEvent(stored: EventRecord, config: Config, rules = new RuleIndex(config)): ExplainedEvent {
  const { deliveries, faults, events, shadowed } = decide([stored], rules);
  const event = events[0] ?? stored;
  const faulty = new Map(faults.map(({ observer, message }) => [observer, message]));
  const firing = new Set(deliveries.map(({ observer }) => observer));
  for (const { observer, fault } of shadowed) {
    if (fault === null) firing.add(observer.name);
    else faulty.set(observer.name, fault);
  }
  const scope = createScope(event);
  const ofSource = [...config.observers.values()].filter(({ source }) => source.name === event.source);
  return {
    event,
    observers: ofSource.map((observer) => {
      const { name, on, when } = observer;
      const fault = faulty.get(name) ?? null;
      const listens = on.includes(event.operation);
      return {
        observer,
        verdict: fault !== null ? 'fault' : firing.has(name) ? 'fires' : 'silent',
        listens,
        condition: listens && when !== null ? explainCondition(when, scope) : null,
        fault,
      };
    }),
  };
}
