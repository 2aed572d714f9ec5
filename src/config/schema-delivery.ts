// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { duration, type JsonSchema, record, template, templateText, text, whole } from './schema-values.ts';

/** How and where deliveries go: the keys that destinations, `defaults` and actions share, and the destinations. */
export const retryDefinition: JsonSchema = record(
  'What happens after a failed attempt: exponential backoff with jitter.',
  {
    attempts: whole(
      'Attempts in all, the first one included. After the last one the delivery becomes a dead letter.',
      1,
      100,
      {
        default: 8,
      },
    ),
    initial: duration('Delay before the second attempt.', { default: '1s' }),
    factor: {
      description: 'Each further delay is this many times the one before.',
      type: ['number', 'string'],
      minimum: 1,
      maximum: 100,
      pattern: '^\\$\\{',
      default: 2,
    },
    max: duration('No delay is longer than this, unless the receiver asks for it (Retry-After).', { default: '5m' }),
    jitter: {
      description:
        '`full`: a random share of the delay, so that retries of many deliveries spread out. `none`: the delay itself.',
      enum: ['full', 'none'],
      default: 'full',
    },
  },
);

export const circuitBreakerDefinition: JsonSchema = record(
  'Stops trying a destination that keeps failing; deliveries wait meanwhile and lose no attempts. Off unless declared.',
  {
    failure_rate: {
      description: 'Share of failed attempts in the window that opens the breaker: above 0, at most 1.',
      type: ['number', 'string'],
      exclusiveMinimum: 0,
      maximum: 1,
      pattern: '^\\$\\{',
      default: 0.5,
    },
    minimum: whole('Attempts in the window before the rate means anything.', 1, 100_000, { default: 10 }),
    window: duration('How far back the rate looks.', { default: '30s' }),
    open_for: duration('How long the breaker stays open before one attempt probes the destination.', {
      default: '10s',
    }),
  },
);

export const delivery: JsonSchema = {
  timeout: duration('One deadline for a whole attempt: DNS, connect, TLS, headers and body.', { default: '15s' }),
  concurrency: whole('Attempts in flight at once, per process.', 1, 10_000, { default: 20 }),
  rate_limit: {
    description: 'At most this many attempts per second, minute or hour, per process. Default: no limit.',
    $ref: '#/definitions/rate',
  },
  retry: { $ref: '#/definitions/retry' },
  circuit_breaker: { $ref: '#/definitions/circuit_breaker' },
};

const header =
  'Reserved names (webhook-id, webhook-timestamp, webhook-signature, host, content-length, …) are refused.';

const webhook = record(
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

const email = record(
  'A mail server.',
  {
    smtp: text('smtp:// or smtps:// URL, credentials inside.', {
      examples: ['${SMTP_URL}', 'smtps://user:password@mail.example.com'],
    }),
    from: text('The sender.', { examples: ['Orders <orders@example.com>'] }),
  },
  { required: ['smtp', 'from'] },
);

const slack = record(
  'A Slack workspace (`token`: any channel) or an incoming webhook (`webhook_url`: the one channel it was made for).',
  {
    token: text('Bot token with the scope chat:write.', { examples: ['${SLACK_BOT_TOKEN}'] }),
    webhook_url: text('URL of an incoming webhook; as secret as a token.', { examples: ['${SLACK_WEBHOOK_URL}'] }),
    api_url: text('Root of the Slack API, for proxies and tests.', { default: 'https://slack.com/api/' }),
  },
  { oneOf: [{ required: ['token'] }, { required: ['webhook_url'] }], dependencies: { api_url: ['token'] } },
);

export const destinationDefinition: JsonSchema = record(
  'Somewhere deliveries go: exactly one of `webhook`, `email` and `slack`, and how it wants to be treated.',
  { webhook, email, slack, ...delivery },
  { oneOf: [{ required: ['webhook'] }, { required: ['email'] }, { required: ['slack'] }] },
);

const addresses = { type: ['string', 'array'], minLength: 1, minItems: 1, items: { type: 'string', minLength: 1 } };

/** Keys of an action that belong to one kind, in the order in which messages name them. */
export const actionKeys: Readonly<Record<'webhook' | 'email' | 'slack', JsonSchema>> = {
  webhook: {
    body: template('The request body, as JSON. Default: the event envelope.'),
    headers: template(`Request headers besides the destination's. ${header}`, {
      type: 'object',
      additionalProperties: { type: 'string' },
    }),
  },
  email: {
    to: template('Recipient or list of recipients.', addresses),
    cc: template('Copy.', addresses),
    bcc: template('Blind copy.', addresses),
    reply_to: templateText('Where answers go.'),
    subject: templateText('Subject line.'),
    text: templateText('Plain text of the mail or the Slack message (escaped there as mrkdwn).'),
    html: templateText('HTML of the mail; inserted values are escaped.'),
  },
  slack: {
    channel: templateText('Channel id or `#name`; required with `token`, built into an incoming webhook.', {
      examples: ['#sales'],
    }),
    text: templateText('Plain text of the mail or the Slack message (escaped there as mrkdwn).'),
    blocks: template('Block Kit blocks.', { type: ['array', 'string'] }),
  },
};

/** Keys that are wrong unless the action is of this kind. */
function only(kind: 'webhook' | 'email' | 'slack', more: JsonSchema = {}): JsonSchema {
  const own = Object.keys(actionKeys[kind]);
  const others = Object.values(actionKeys).flatMap((keys) => Object.keys(keys));
  const foreign = others.filter((key) => !own.includes(key));
  return {
    if: { required: [kind] },
    // biome-ignore lint/suspicious/noThenProperty: a JSON Schema keyword
    then: { properties: Object.fromEntries(foreign.map((key) => [key, false])), ...more },
  };
}

export const actionDefinition: JsonSchema = record(
  'What to do: exactly one of `webhook`, `email` and `slack`, naming a destination of that kind.',
  {
    webhook: text(
      'Name of a webhook destination, or a literal http(s) URL (a destination with the defaults, not signed).',
    ),
    email: text('Name of an email destination.'),
    slack: text('Name of a slack destination.'),
    name: text(
      'Unique within the observer. Default: kind and position, `webhook-1`. Receivers drop repeats by it: keep it stable.',
      {
        pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$',
        errorMessage: 'Letters, digits, `_`, `-` and `.`, at most 63',
      },
    ),
    timeout: duration("The destination's, unless given here."),
    retry: { $ref: '#/definitions/retry' },
    ...actionKeys.webhook,
    ...actionKeys.email,
    ...actionKeys.slack,
  },
  {
    oneOf: [{ required: ['webhook'] }, { required: ['email'] }, { required: ['slack'] }],
    allOf: [
      only('webhook'),
      only('email', { required: ['to', 'subject'], anyOf: [{ required: ['text'] }, { required: ['html'] }] }),
      only('slack', { anyOf: [{ required: ['text'] }, { required: ['blocks'] }] }),
    ],
  },
);
