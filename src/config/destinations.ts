import type { UrlTemplate } from '../domain/expression.ts';
import { builtInOutcomes } from '../domain/outcome-policy.ts';
import type { Destination, DestinationKind, WebhookDestination } from '../domain/rules.ts';
import { type Delivery, readDelivery } from './delivery.ts';
import type { Field } from './field.ts';
import { shortHash, withoutCredentials } from './fingerprint.ts';
import { declaredKinds, kinds } from './kinds/index.ts';
import { plainWebhook } from './kinds/webhook.ts';
import { parseUrl } from './urls.ts';

export function readDestinations(fields: Field, defaults: Delivery): Map<string, Destination> {
  const destinations = new Map<string, Destination>();
  for (const [name, field] of fields.entries()) {
    const destination = readDestination(name, field, defaults);
    if (destination !== null) destinations.set(name, destination);
  }
  return destinations;
}

function readDestination(name: string, field: Field, defaults: Delivery): Destination | null {
  const kind = declaredKinds.find((candidate) => field.get(candidate).present) ?? null;
  const delivery = readDelivery(field, defaults, kind);
  if (kind === null) return null;
  const addresses = field.get('addresses');
  if (kind !== 'webhook' && addresses.present) {
    addresses.refuseKey(`\`addresses\` is for webhook destinations, and this is ${kind}`, 'remove it');
  }
  return Object.freeze({
    name,
    position: field.keyPosition,
    ...delivery,
    outcomes: builtInOutcomes(kind).with(delivery.outcomes),
    concurrency: field.get('concurrency').number() ?? kinds[kind].concurrency ?? delivery.concurrency,
    ...kinds[kind].readDestination(field.get(kind), field),
  });
}

/** The one of its kind, which no file declares: it is treated as `defaults` say. */
export function builtInDestination(kind: DestinationKind, field: Field, defaults: Delivery): Destination {
  return Object.freeze({
    name: kind,
    position: field.position,
    ...defaults,
    outcomes: builtInOutcomes(kind).with(defaults.outcomes),
    ...kinds[kind].readDestination(field, field),
  });
}

/**
 * The destination that a literal URL in an action stands for. The name shows origin and path; a URL with more than that
 * (credentials, query) gets a short hash of its written form, so that two of them stay apart and nothing leaks.
 */
export function literalDestination(field: Field, defaults: Delivery): WebhookDestination | null {
  const plain = plainWebhook(field);
  const name = nameOf(plain);
  if (name === null) return null;
  return Object.freeze({
    ...defaults,
    ...plain,
    name: name.isWhole ? name.visible : `${name.visible}~${shortHash(String(field.written))}`,
    position: field.position,
    outcomes: builtInOutcomes('webhook').with(defaults.outcomes),
  });
}

/** null when the URL was refused. */
function nameOf({ url, urlTemplate }: { url: string; urlTemplate: UrlTemplate | null }) {
  if (urlTemplate !== null) {
    const visible = withoutCredentials(url);
    return { visible, isWhole: visible === url };
  }
  const parsed = parseUrl(url);
  if (parsed === null) return null;
  const { username, password, search, hash } = parsed;
  return { visible: `${parsed.origin}${parsed.pathname}`, isWhole: `${username}${password}${search}${hash}` === '' };
}
