import { builtInOutcomes } from '../domain/outcome-policy.ts';
import type { Action, Destination, DestinationKind, WebhookDestination } from '../domain/rules.ts';
import { type Delivery, readTimeout } from './delivery.ts';
import { builtInDestination, literalDestination } from './destinations.ts';
import type { Field } from './field.ts';
import { kindNames, kinds } from './kinds/index.ts';
import { readOutcomes } from './outcomes.ts';
import { readRetry } from './retry.ts';
import { didYouMean } from './suggestions.ts';

/** What actions refer to; literal URLs are added to the destinations. */
export interface Destinations {
  readonly all: Map<string, Destination>;
  /** Names in the file, also those that are not in order. */
  readonly declared: Field;
  readonly defaults: Delivery;
}

export function readActions(fields: Field, destinations: Destinations): readonly Action[] {
  const names = new Set<string>();
  const items = Array.isArray(fields.value) ? fields.items() : [];
  const actions = items.flatMap((field, i) => {
    const kind = kindNames.find((candidate) => field.get(candidate).present);
    if (kind === undefined) return [];
    const name = field.get('name').text() ?? `${kind}-${i + 1}`;
    if (names.has(name)) refuseName(field, name);
    names.add(name);
    return readAction(field, kind, name, destinations) ?? [];
  });
  return Object.freeze(actions);
}

function refuseName(field: Field, name: string): void {
  const given = field.get('name');
  const hint = 'dead letters and receivers know actions by name';
  if (given.present) given.refuse(`another action of this observer is named ${given.shown}`, hint);
  else field.refuseKey(`another action of this observer is named \`${name}\``, hint);
}

function readAction(field: Field, kind: DestinationKind, name: string, destinations: Destinations): Action | null {
  const destination = findDestination(field.get(kind), kind, destinations);
  const common = {
    name,
    position: field.position,
    timeoutMs: readTimeout(field, destination?.timeoutMs ?? destinations.defaults.timeoutMs),
    retry: readRetry(field.get('retry'), destination?.retry ?? destinations.defaults.retry),
    outcomes: (destination?.outcomes ?? builtInOutcomes(kind)).with(readOutcomes(field.get('outcomes'), kind)),
  };
  // Templates are compiled even when the destination is unknown: their mistakes are reported too.
  const own = kinds[kind].readAction(field, destination);
  return destination === null ? null : Object.freeze({ ...common, ...own, destination });
}

function findDestination(field: Field, kind: DestinationKind, destinations: Destinations): Destination | null {
  const name = field.text();
  if (name === undefined) return null;
  if (kinds[kind].destinationSchema === null) return findBuiltIn(field, kind, destinations);
  if (kind === 'webhook' && /:\/\/|\$\{\{/.test(name)) return findLiteral(field, destinations);
  const declared = destinations.declared.get(name);
  const found = destinations.all.get(name);
  if (found?.kind === kind) return found;
  if (found !== undefined) {
    field.refuse(
      `destination ${field.shown} is of kind ${found.kind}, not ${kind}`,
      `write ${found.kind}: instead of ${kind}:`,
    );
  } else if (declared.written === undefined) {
    const candidates = [...destinations.all.values()].filter(
      (other) => other.kind === kind && !other.name.includes('://'),
    );
    const nearest = didYouMean(
      name,
      candidates.map((other) => other.name),
    );
    field.refuse(`there is no destination ${field.shown}`, nearest ?? (kind === 'webhook' ? 'or write a URL' : null));
  }
  return null;
}

function findBuiltIn(field: Field, kind: DestinationKind, destinations: Destinations): Destination | null {
  const found = destinations.all.get(kind) ?? builtInDestination(kind, field, destinations.defaults);
  if (found.kind !== kind) {
    const hint = 'rename that one: it is built in';
    field.refuseKey(`destination \`${kind}\` of this file is of kind ${found.kind}, not ${kind}`, hint);
    return null;
  }
  destinations.all.set(kind, found);
  return found;
}

function findLiteral(field: Field, destinations: Destinations): WebhookDestination | null {
  const destination = literalDestination(field, destinations.defaults);
  if (destination === null) return null;
  const twin = destinations.all.get(destination.name);
  if (twin?.kind === 'webhook') return twin;
  destinations.all.set(destination.name, destination);
  return destination;
}
