import { builtInOutcomes } from '../domain/outcome-policy.ts';
import type { Destination, WebhookDestination } from '../domain/rules.ts';
import { type Delivery, readDelivery } from './delivery.ts';
import type { Field } from './field.ts';
import { shortHash } from './fingerprint.ts';
import { kindNames, kinds } from './kinds/index.ts';
import { readUrl } from './urls.ts';

export function readDestinations(fields: Field, defaults: Delivery): Map<string, Destination> {
  const destinations = new Map<string, Destination>();
  for (const [name, field] of fields.entries()) {
    const destination = readDestination(name, field, defaults);
    if (destination !== null) destinations.set(name, destination);
  }
  return destinations;
}

function readDestination(name: string, field: Field, defaults: Delivery): Destination | null {
  const kind = kindNames.find((candidate) => field.get(candidate).present) ?? null;
  const delivery = readDelivery(field, defaults, kind);
  if (kind === null) return null;
  return Object.freeze({
    name,
    position: field.keyPosition,
    ...delivery,
    outcomes: builtInOutcomes(kind).with(delivery.outcomes),
    ...kinds[kind].readDestination(field.get(kind)),
  });
}

/**
 * The destination that a literal URL in an action stands for. The name shows origin and path; a URL with more than that
 * (credentials, query) gets a short hash of its written form, so that two of them stay apart and nothing leaks.
 */
export function literalDestination(field: Field, defaults: Delivery): WebhookDestination | null {
  const url = readUrl(field, 'http');
  if (url === null) return null;
  const visible = `${url.origin}${url.pathname}`;
  const hidden = url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '';
  return Object.freeze({
    kind: 'webhook',
    name: hidden ? `${visible}~${shortHash(String(field.written))}` : visible,
    position: field.position,
    ...defaults,
    outcomes: builtInOutcomes('webhook').with(defaults.outcomes),
    url: field.text() ?? '',
    secrets: Object.freeze([]),
    headers: Object.freeze({}),
  });
}
