import type { Destination, EmailDestination, SlackDestination, WebhookDestination } from '../domain/rules.ts';
import { type Delivery, readDelivery } from './delivery.ts';
import type { Field } from './field.ts';
import { shortHash } from './fingerprint.ts';
import { readHeaders } from './headers.ts';
import { readUrl } from './urls.ts';

export function readDestinations(fields: Field, defaults: Delivery): Map<string, Destination> {
  const destinations = new Map<string, Destination>();
  for (const [name, field] of fields.entries()) {
    const destination = readDestination(name, field, readDelivery(field, defaults));
    if (destination !== null) destinations.set(name, destination);
  }
  return destinations;
}

function readDestination(name: string, field: Field, delivery: Delivery): Destination | null {
  const common = { name, position: field.keyPosition, ...delivery };
  const [webhook, email, slack] = [field.get('webhook'), field.get('email'), field.get('slack')];
  if (webhook.present) return Object.freeze({ ...common, ...readWebhook(webhook) });
  if (email.present) return Object.freeze({ ...common, ...readEmail(email) });
  if (slack.present) return Object.freeze({ ...common, ...readSlack(slack) });
  return null;
}

type Own<D extends Destination> = Omit<D, 'name' | 'position' | keyof Delivery>;

function readWebhook(field: Field): Own<WebhookDestination> {
  readUrl(field.get('url'), 'http');
  const headers = readHeaders(field.get('headers')).map(([name, value]) => [name, value.text() ?? '']);
  return {
    kind: 'webhook',
    url: field.get('url').text() ?? '',
    secrets: readSecrets(field.get('secret')),
    headers: Object.freeze(Object.fromEntries(headers)),
  };
}

function readSecrets(field: Field): readonly string[] {
  const secrets: string[] = [];
  for (const item of field.items()) {
    const secret = item.text();
    if (secret === undefined) continue;
    item.secret(secret);
    const problem = secretProblem(secret) ?? (secrets.includes(secret) ? 'is in the list twice' : null);
    if (problem !== null) item.refuse(`this signing secret ${problem}`, secretHint);
    secrets.push(secret);
  }
  return Object.freeze(secrets);
}

// A plain text would have to be read as base64 by some receivers and as bytes by others: signatures that never match.
const secretHint = 'whsec_ and base64 of 24 to 64 random bytes: echo "whsec_$(openssl rand -base64 32)"';

/** Standard Webhooks, "Signature scheme": what signing keys look like. Bytes. */
const keyLengths: Readonly<Record<string, { readonly fits: (length: number) => boolean; readonly wanted: string }>> = {
  whsec_: { fits: (length) => length >= 24 && length <= 64, wanted: '24 to 64' },
  // Ed25519: the seed, or seed and public key.
  whsk_: { fits: (length) => length === 32 || length === 64, wanted: '32 or 64' },
};

function secretProblem(secret: string): string | null {
  const prefix = Object.keys(keyLengths).find((candidate) => secret.startsWith(candidate));
  const length = keyLengths[prefix ?? ''];
  if (prefix === undefined || length === undefined) return 'does not begin with whsec_';
  const encoded = secret.slice(prefix.length);
  const bytes = Buffer.from(encoded, 'base64');
  // Buffer.from passes over what is not base64 and makes a different key of a mistyped one.
  const again = bytes.toString('base64').replace(/=+$/, '');
  if (again !== encoded.replace(/={1,2}$/, '')) return `is not base64 after ${prefix}`;
  return length.fits(bytes.length) ? null : `has ${bytes.length} bytes instead of ${length.wanted}`;
}

function readEmail(field: Field): Own<EmailDestination> {
  const [smtp, from] = [field.get('smtp'), field.get('from')];
  readUrl(smtp, 'smtp');
  const sender = from.text();
  if (sender !== undefined && !/^[^\r\n]*[^\s@<>]+@[^\s@<>]+>?$/.test(sender)) {
    from.refuse(
      `\`from\` is not a mail address: ${from.shown}`,
      'write orders@example.com or "Orders <orders@example.com>"',
    );
  }
  return { kind: 'email', smtp: smtp.text() ?? '', from: sender ?? '' };
}

function readSlack(field: Field): Own<SlackDestination> {
  const webhook = field.get('webhook_url');
  if (webhook.present) {
    readUrl(webhook, 'http');
    const webhookUrl = webhook.text() ?? '';
    webhook.secret(webhookUrl);
    return { kind: 'slack', auth: Object.freeze({ kind: 'incoming', webhookUrl }) };
  }
  const token = field.get('token');
  const text = token.text() ?? '';
  token.secret(text);
  if (/\s/.test(text)) token.refuse('`token` has white space in it');
  const api = readUrl(field.get('api_url'), 'http');
  return {
    kind: 'slack',
    auth: Object.freeze({ kind: 'token', token: text, apiUrl: api === null ? null : rootOf(api) }),
  };
}

/** Method names are appended to it. */
function rootOf(url: URL): string {
  return url.href.endsWith('/') ? url.href : `${url.href}/`;
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
    url: field.text() ?? '',
    secrets: Object.freeze([]),
    headers: Object.freeze({}),
  });
}
