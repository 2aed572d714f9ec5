import type { Operation } from '../domain/event.ts';
import type { Action, Observer, Source } from '../domain/rules.ts';
import { type Destinations, readActions } from './actions.ts';
import { childOf } from './document.ts';
import { readCondition, readOrdering } from './expressions.ts';
import type { Field } from './field.ts';
import { fingerprint, withoutCredentials, withoutSecrets } from './fingerprint.ts';
import { didYouMean, listed } from './suggestions.ts';

export function readObservers(
  fields: Field,
  sources: ReadonlyMap<string, Source>,
  declaredSources: Field,
  destinations: Destinations,
): Map<string, Observer> {
  const observers = new Map<string, Observer>();
  for (const [name, field] of fields.entries()) {
    const source = findSource(field.get('source'), sources, declaredSources);
    const on = readOperations(field.get('on'), source);
    const when = readCondition(field.get('when'));
    const { orderBy, onDead } = readOrdering(field.get('order_by'));
    const mode = field.get('mode').text() === 'shadow' ? 'shadow' : 'live';
    const actions = readActions(field.get('actions'), destinations);
    if (source === null) continue;
    const version = versionOf(field, actions, destinations.declared);
    observers.set(
      name,
      Object.freeze({ name, position: field.keyPosition, source, on, when, orderBy, onDead, mode, actions, version }),
    );
  }
  return observers;
}

function findSource(field: Field, sources: ReadonlyMap<string, Source>, declared: Field): Source | null {
  const name = field.text();
  if (name === undefined) return null;
  const source = sources.get(name);
  if (source === undefined && declared.get(name).written === undefined) {
    field.refuse(`there is no source ${field.shown}`, didYouMean(name, sources.keys()));
  }
  return source ?? null;
}

function readOperations(field: Field, source: Source | null): readonly Operation[] {
  if (source === null) return Object.freeze([]);
  const possible = operationsOf(source);
  const given = field.items().flatMap((item): Operation[] => {
    const operation = possible.find((candidate) => candidate === item.text());
    if (operation !== undefined) return [operation];
    if (item.text() === undefined) return [];
    item.refuse(`source \`${source.name}\` yields no ${item.shown} events`, `it yields ${listed(possible, 'and')}`);
    return [];
  });
  // A backfill reads existing rows; that must not fire observers which never heard of backfills.
  const usual = possible.filter((operation) => operation !== 'read');
  return Object.freeze(field.present ? given : usual);
}

function operationsOf(source: Source): readonly Operation[] {
  switch (source.kind) {
    case 'table':
      return [...source.operations, 'read'];
    case 'channel':
      return ['notify'];
    case 'topic':
      return ['emit'];
  }
}

/** Changes when the rule or how it is delivered changes as written: not when a secret is rotated. */
function versionOf(field: Field, actions: readonly Action[], declared: Field): string {
  const used = [...new Set(actions.map((action) => action.destination.name))].sort();
  const destinations = used.map((name) => [name, withoutSecrets(declared.get(name).written ?? null)]);
  return fingerprint({ rule: ruleAsWritten(field), destinations });
}

/** The rule without the credentials a literal URL may carry. */
export function ruleAsWritten(field: Field): unknown {
  const actions = childOf(field.written, 'actions');
  if (!Array.isArray(actions)) return field.written;
  const cleaned = actions.map((action: unknown) => {
    const url = childOf(action, 'webhook');
    return typeof url === 'string' ? { ...(action as object), webhook: withoutCredentials(url) } : action;
  });
  return { ...(field.written as object), actions: cleaned };
}
