import type { EventRecord } from '../../domain/event.ts';
import { ExpressionError, type Scope } from '../../domain/expression.ts';
import type { Observer } from '../../domain/rules.ts';
import { createScope, fires } from '../../expression/index.ts';
import type { ConditionFault, Decisions, NewDelivery, ReplayRequest } from '../../transport/contract.ts';
import type { RuleIndex } from './rule-index.ts';

export interface Decided extends Decisions {
  /** All events, under the names of the file: those of the deliveries and faults are among them. */
  readonly events: readonly EventRecord[];
  /** What observers in shadow mode would have done. */
  readonly shadowed: readonly Shadowed[];
}

/** An observer in shadow mode that fires. */
export interface Shadowed {
  readonly scope: Scope;
  readonly observer: Observer;
  /** It does not fire: this is wrong with its condition. */
  readonly fault: string | null;
}

/** Stored events × observers → deliveries: pure, in the order of the events and, within one, of the file. */
export function decide(stored: readonly EventRecord[], rules: RuleIndex): Decided {
  const events: EventRecord[] = [];
  const decided: Deciding = { deliveries: [], faults: [], shadowed: [] };
  for (const record of stored) {
    const event = rules.named(record);
    events.push(event);
    const scope = createScope(event);
    const observers = rules.candidates(event, scope);
    if (observers.length > 0) decideEvent(scope, record, observers, decided);
  }
  return { events, ...decided };
}

/** One event and one observer once more, because its condition could not be evaluated. */
export function decideAgain(
  { event: stored, observer: name, ruleVersion }: ReplayRequest,
  rules: RuleIndex,
): Decisions {
  const event = rules.named(stored);
  const observer = rules.observer(name);
  // Not resolved: whoever removed the rule may not have thought of what had failed at it.
  if (observer === null) {
    const message = `there is no observer ${JSON.stringify(name)} any more: restore it and replay this, or discard it`;
    return { deliveries: [], faults: [{ event, observer: name, message, ruleVersion }] };
  }
  if (observer.mode === 'shadow') {
    const message = `observer ${JSON.stringify(name)} is in shadow mode: make it live and replay this, or discard it`;
    return { deliveries: [], faults: [{ event, observer: name, message, ruleVersion }] };
  }
  const decided: Deciding = { deliveries: [], faults: [], shadowed: [] };
  const scope = createScope(event);
  if (rules.candidates(event, scope).includes(observer)) decideEvent(scope, stored, [observer], decided);
  return { deliveries: decided.deliveries, faults: decided.faults };
}

interface Deciding {
  readonly deliveries: NewDelivery[];
  readonly faults: ConditionFault[];
  readonly shadowed: Shadowed[];
}

/** A condition that can't be evaluated is this observer's fault alone: the others and the stream go on. */
function decideEvent(
  scope: Scope,
  stored: EventRecord,
  observers: readonly Observer[],
  { deliveries, faults, shadowed }: Deciding,
): void {
  const event = scope.record;
  for (const observer of observers) {
    try {
      if (!matches(observer, scope)) continue;
      const orderingKey = orderingKeyOf(observer, scope);
      if (observer.mode === 'shadow') {
        shadowed.push({ scope, observer, fault: null });
        continue;
      }
      for (const action of observer.actions) {
        deliveries.push({
          event,
          stored,
          observer: observer.name,
          action: action.name,
          destination: action.destination.name,
          orderingKey,
          ruleVersion: observer.version,
        });
      }
    } catch (error) {
      const message = faultMessage(error);
      if (observer.mode === 'shadow') shadowed.push({ scope, observer, fault: message });
      else faults.push({ event, observer: observer.name, message, ruleVersion: observer.version });
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
