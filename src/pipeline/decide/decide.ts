import type { EventRecord } from '../../domain/event.ts';
import { ExpressionError, type Scope } from '../../domain/expression.ts';
import type { Observer } from '../../domain/rules.ts';
import { createScope, fires } from '../../expression/index.ts';
import type { ConditionFault, Decisions, NewDelivery } from '../../transport/contract.ts';
import type { RuleIndex } from './rule-index.ts';

/** Events × observers → deliveries: pure, in the order of the events and, within one, of the file. */
export function decide(events: readonly EventRecord[], rules: RuleIndex): Decisions {
  const deliveries: NewDelivery[] = [];
  const faults: ConditionFault[] = [];
  for (const event of events) {
    const observers = rules.candidates(event);
    if (observers.length === 0) continue;
    decideEvent(event, observers, deliveries, faults);
  }
  return { deliveries, faults };
}

/** A condition that can't be evaluated is this observer's fault alone: the others and the stream go on. */
export function decideEvent(
  event: EventRecord,
  observers: readonly Observer[],
  deliveries: NewDelivery[],
  faults: ConditionFault[],
): void {
  const scope = createScope(event);
  for (const observer of observers) {
    try {
      if (!matches(observer, scope)) continue;
      const orderingKey = orderingKeyOf(observer, scope);
      for (const action of observer.actions) {
        deliveries.push({
          event,
          observer: observer.name,
          action: action.name,
          destination: action.destination.name,
          orderingKey,
          ruleVersion: observer.version,
        });
      }
    } catch (error) {
      faults.push({ event, observer: observer.name, message: faultMessage(error), ruleVersion: observer.version });
    }
  }
}

function matches(observer: Observer, scope: Scope): boolean {
  return observer.when === null || fires(observer.when.evaluate(scope));
}

function orderingKeyOf(observer: Observer, scope: Scope): string | null {
  if (observer.orderBy === null) return null;
  const value = observer.orderBy.evaluate(scope);
  // Without a key there is nothing to be in order with.
  if (value === null || value === undefined) return null;
  return typeof value === 'object' ? JSON.stringify(value, digits) : String(value);
}

const digits = (_: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value);

function faultMessage(error: unknown): string {
  if (error instanceof ExpressionError) return `${error.message} in ${JSON.stringify(error.expression)}`;
  return error instanceof Error ? error.message : String(error);
}
