// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import type { Template } from '../../domain/expression.ts';
import type { WebhookAction, WebhookDestination } from '../../domain/rules.ts';
import { readTemplate } from '../expressions.ts';
import type { Field } from '../field.ts';
import { readHeaders } from '../headers.ts';
import { type JsonSchema, record, template, text } from '../schema-values.ts';
import { readUrl } from '../urls.ts';
import type { Kind, OwnAction, OwnDestination } from './kind.ts';

const header =
  'Reserved names (webhook-id, webhook-timestamp, webhook-signature, host, content-length, …) are refused.';

const destinationSchema = record(
  'An HTTP endpoint that receives a POST.',
  {
    url: text('http:// or https:// URL. May be internal: it is yours.', {
      examples: ['https://billing.example.com/hooks/orders'],
    }),
    secret: {
      description:
        'Signs each request as Standard Webhooks asks: `whsec_` and base64 of 24 to 64 random bytes. A list signs with every key (rotation, newest first). Without it requests are not signed.',
      type: ['string', 'array'],
      minLength: 1,
      minItems: 1,
      maxItems: 10,
      items: { type: 'string', minLength: 1 },
      examples: ['${BILLING_WEBHOOK_SECRET}'],
    },
    headers: {
      description: `Request headers sent every time, such as an API key. ${header}`,
      type: 'object',
      additionalProperties: { type: 'string' },
      examples: [{ authorization: 'Bearer ${API_TOKEN}' }],
    },
  },
  { required: ['url'] },
);

const actionKeys: JsonSchema = {
  body: template('The request body, as JSON. Default: the event envelope.'),
  headers: template(`Request headers besides the destination's. ${header}`, {
    type: 'object',
    additionalProperties: { type: 'string' },
  }),
};

export const webhook: Kind<'webhook'> = {
  kind: 'webhook',
  destinationSchema,
  reference: text(
    'Name of a webhook destination, or a literal http(s) URL (a destination with the defaults, not signed).',
  ),
  actionKeys,
  actionRules: {},
  readDestination,
  readAction,
};

function readDestination(field: Field): OwnDestination<WebhookDestination> {
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

function readAction(field: Field): OwnAction<WebhookAction> {
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
