// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { webhookFormats, webhookMethods } from '../../domain/webhook.ts';
import { duration, flag, type JsonSchema, record, template, text, whole } from '../schema-values.ts';
import { headersKey } from './shared-keys.ts';

const header =
  'Reserved names (webhook-id, webhook-timestamp, webhook-signature, host, content-length, …) are refused.';

const method: JsonSchema = {
  description: 'GET sends no body, DELETE none unless the action has a `body`.',
  enum: webhookMethods,
};

const format: JsonSchema = {
  description:
    '`json`: the body, or the event envelope. `cloudevents`: CloudEvents 1.0, structured; `cloudevents_binary`: with the attributes in headers. `form`: URL-encoded fields. `text`: plain text.',
  enum: webhookFormats,
};

const query: JsonSchema = template("Parameters of the URL's query, percent-encoded.", {
  type: 'object',
  additionalProperties: { type: ['string', 'number', 'boolean', 'array'] },
  examples: [{ order: '${{ new.id }}' }],
});

const auth = record(
  'How requests authenticate: exactly one of `bearer`, `basic` and `oauth2`.',
  {
    bearer: text('A token, sent as `Authorization: Bearer …`.', { examples: ['${API_TOKEN}'] }),
    basic: record(
      'User and password.',
      { username: text('User.'), password: text('Password.', { examples: ['${API_PASSWORD}'] }) },
      { required: ['username', 'password'] },
    ),
    oauth2: record(
      'OAuth 2.0 client credentials: a token is asked for when it is needed, kept until it expires, and replaced when the receiver answers 401.',
      {
        token_url: text('The token endpoint.', { examples: ['https://login.example.com/oauth2/token'] }),
        client_id: text('Client id.'),
        client_secret: text('Client secret.', { examples: ['${OAUTH_CLIENT_SECRET}'] }),
        scope: {
          description: 'Scope, or a list of them.',
          type: ['string', 'array'],
          minLength: 1,
          minItems: 1,
          items: { type: 'string', minLength: 1 },
        },
        audience: text('Audience, where the endpoint asks for one.'),
        client_auth: {
          description: 'Where id and secret stand: `basic` in the Authorization header, `post` in the body.',
          enum: ['basic', 'post'],
          default: 'basic',
        },
      },
      { required: ['token_url', 'client_id', 'client_secret'] },
    ),
  },
  { oneOf: [{ required: ['bearer'] }, { required: ['basic'] }, { required: ['oauth2'] }] },
);

const tls = record(
  'Certificates, as PEM: `${file:/run/secrets/client.pem}` or a variable.',
  {
    ca: text("Authorities to trust instead of the system's.", { examples: ['${file:/etc/ssl/internal-ca.pem}'] }),
    cert: text('Client certificate with its chain, for receivers that demand one (mTLS).'),
    key: text('Its private key.'),
    passphrase: text('Of the key, when it is encrypted.'),
    server_name: text("Whose certificate to ask for and check, when that is not the URL's host."),
  },
  { dependencies: { cert: ['key'], key: ['cert'], passphrase: ['key'] } },
);

export const destinationSchema = record(
  'An HTTP endpoint.',
  {
    url: template(
      'http:// or https:// URL. May be internal when it is written here; a host that comes from the event may not (see `addresses`).',
      {
        type: 'string',
        minLength: 1,
        examples: ['https://billing.example.com/hooks/orders', 'https://api.example.com/orders/${{ new.id }}'],
      },
    ),
    method: { ...method, default: 'POST' },
    format: { ...format, default: 'json' },
    query,
    secret: {
      description:
        'Signs each request as Standard Webhooks asks: `whsec_` (HMAC) or `whsk_` (Ed25519) and base64; `pg-observers keys generate` makes one. A list signs with every key (rotation, newest first). Without it requests are not signed.',
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
      examples: [{ 'x-api-key': '${API_KEY}' }],
    },
    auth,
    tls,
  },
  { required: ['url'] },
);

export const batchKey: JsonSchema = record(
  'Several deliveries of one action in one request: a JSON array of what each would have been (formats `json` and `cloudevents`).',
  {
    max: whole('Items in one request; so many go at once.', 1, 1_000, { default: 100 }),
    wait: duration('So long the oldest waits for others.', { default: '1s' }),
    max_bytes: whole('Size of one request; a larger item goes alone.', 1_024, 64 * 1024 * 1024, {
      default: 1024 * 1024,
    }),
    items: flag(
      'The answer may name items that failed: { "failed": [{ "id": …, "error": …, "retry": false }] }. false: the answer is about all of them.',
      false,
    ),
  },
);

export const actionKeys: JsonSchema = {
  body: template(
    'The request body. Default: the event envelope, in a CloudEvent its `data`. A mapping of fields with `format: form`.',
  ),
  headers: headersKey,
  method: { ...method, description: `The destination's, unless given here. ${method.description}` },
  format: { ...format, description: `The destination's, unless given here. ${format.description}` },
  query,
};
