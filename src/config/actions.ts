import type { Template, TemplateMode } from '../domain/expression.ts';
import type {
  Action,
  Destination,
  DestinationKind,
  EmailAction,
  SlackAction,
  SlackDestination,
  WebhookAction,
  WebhookDestination,
} from '../domain/rules.ts';
import { type Delivery, readRetry, readTimeout } from './delivery.ts';
import { literalDestination } from './destinations.ts';
import { readTemplate } from './expressions.ts';
import type { Field } from './field.ts';
import { readHeaders } from './headers.ts';
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
    const kind = kinds.find((candidate) => field.get(candidate).present);
    if (kind === undefined) return [];
    const name = field.get('name').text() ?? `${kind}-${i + 1}`;
    if (names.has(name)) refuseName(field, name);
    names.add(name);
    return readAction(field, kind, name, destinations) ?? [];
  });
  return Object.freeze(actions);
}

const kinds = ['webhook', 'email', 'slack'] as const;

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
  };
  // Templates are compiled even when the destination is unknown: their mistakes are reported too.
  switch (kind) {
    case 'webhook':
      return completed({ ...common, ...readWebhook(field) }, destination);
    case 'email':
      return completed({ ...common, ...readEmail(field) }, destination);
    case 'slack':
      return completed({ ...common, ...readSlack(field, destination) }, destination);
  }
}

function completed<A extends object>(
  action: A,
  destination: Destination | null,
): (A & { destination: Destination }) | null {
  return destination === null ? null : Object.freeze({ ...action, destination });
}

function findDestination(field: Field, kind: DestinationKind, destinations: Destinations): Destination | null {
  const name = field.text();
  if (name === undefined) return null;
  if (kind === 'webhook' && name.includes('://')) return findLiteral(field, destinations);
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

function findLiteral(field: Field, destinations: Destinations): WebhookDestination | null {
  const destination = literalDestination(field, destinations.defaults);
  if (destination === null) return null;
  const twin = destinations.all.get(destination.name);
  if (twin?.kind === 'webhook') return twin;
  destinations.all.set(destination.name, destination);
  return destination;
}

type Own<A extends Action> = Omit<A, 'name' | 'position' | 'destination' | 'timeoutMs' | 'retry'>;

function readWebhook(field: Field): Own<WebhookAction> {
  const headers = readHeaders(field.get('headers')).flatMap(([name, value]): [string, Template][] => {
    const template = readTemplate(value, 'header');
    return template === null ? [] : [[name, template]];
  });
  keepBodySecrets(field.get('body'));
  return {
    kind: 'webhook',
    body: readTemplate(field.get('body'), 'plain'),
    headers: Object.freeze(Object.fromEntries(headers)),
  };
}

/** Shorter ones (`eu`, `prod`, a number) are no keys, and hiding them would tear every dead letter and log line. */
const shortestBodySecret = 8;

/** A variable in a body may well be the key that the receiver wants to see there. */
function keepBodySecrets(field: Field): void {
  if (Array.isArray(field.value)) return field.items().forEach(keepBodySecrets);
  if (typeof field.value === 'object') {
    for (const [, value] of field.entries()) keepBodySecrets(value);
    return;
  }
  for (const { from, value } of field.substitutions) {
    if (from === 'environment' && value.length >= shortestBodySecret) field.secret(value);
  }
}

function readEmail(field: Field): Own<EmailAction> {
  const template = (key: string, mode: TemplateMode): Template | null => readTemplate(field.get(key), mode);
  return {
    kind: 'email',
    to: template('to', 'header') ?? nothing,
    cc: template('cc', 'header'),
    bcc: template('bcc', 'header'),
    replyTo: template('reply_to', 'header'),
    subject: template('subject', 'header') ?? nothing,
    text: template('text', 'plain'),
    html: template('html', 'html'),
  };
}

function readSlack(field: Field, destination: Destination | null): Own<SlackAction> {
  if (destination?.kind === 'slack') checkChannel(field, destination);
  return {
    kind: 'slack',
    channel: readTemplate(field.get('channel'), 'plain'),
    text: readTemplate(field.get('text'), 'mrkdwn'),
    blocks: readTemplate(field.get('blocks'), 'mrkdwn'),
  };
}

function checkChannel(field: Field, destination: SlackDestination): void {
  const channel = field.get('channel');
  const name = field.get('slack').shown;
  if (destination.auth.kind === 'incoming' && channel.present) {
    channel.refuseKey(`${name} is an incoming webhook, which has its channel built in`, 'remove `channel`');
  } else if (destination.auth.kind === 'token' && channel.value === undefined) {
    field
      .get('slack')
      .refuseKey(`destination ${name} has a token, so this action needs a \`channel\``, 'such as channel: "#sales"');
  }
}

/** Stands in for a required template that isn't there; the configuration is refused then. */
const nothing: Template = Object.freeze({ render: () => '', renderText: () => '', renderJson: () => '""' });
