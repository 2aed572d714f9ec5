import { declaredKinds, type Kind, kindNames, kinds } from './kinds/index.ts';
import { duration, type JsonSchema, record, text, whole } from './schema-values.ts';

/** How deliveries go: the keys that destinations, `defaults` and actions share. What a kind adds stands in kinds/. */
export const retryDefinition: JsonSchema = {
  description:
    'What happens after a failed attempt: exponential backoff with jitter, or a list of delays such as `[5s, 5m, 30m, 2h]`, one attempt more than delays.',
  type: ['object', 'array'],
  items: { $ref: '#/definitions/duration' },
  additionalProperties: false,
  properties: {
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
    schedule: {
      description:
        'The delays one by one, in place of `attempts`, `initial`, `factor` and `max`; without jitter unless that is given.',
      type: 'array',
      items: { $ref: '#/definitions/duration' },
      examples: [['5s', '5m', '30m', '2h']],
    },
    max_age: duration('A delivery that was queued longer ago is not tried again. Default: however old it is.', {
      examples: ['3d'],
    }),
  },
};

const outcomeList = (description: string, examples: readonly unknown[]): JsonSchema => ({
  description,
  type: ['array', 'string', 'number'],
  items: {},
  examples: [examples],
});

export const outcomesDefinition: JsonSchema = record(
  'Which outcomes mean what: statuses (`503`, `5xx`, `500-503`), faults (`timeout`, `dns`, `tls`, `connection_refused`, …; `network`: all of them), codes of mail servers (`552`, `smtp_5xx`, `5.7.1`, `5.7.x`, `auth`) and of Slack (`slack_channel_not_found`). The most specific one decides; what is not named stays as it was.',
  {
    success: outcomeList('Delivered.', ['2xx', 409]),
    retry: outcomeList('Tried again, as `retry` permits.', ['5xx', 'network']),
    reject: outcomeList('A dead letter at once.', ['4xx', 'tls']),
    disable: outcomeList(
      'Waits, with all that goes to this destination, until a person enables it: `pg-observers destinations enable`.',
      [401, 410],
    ),
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
    open_for_max: duration('Each probe that fails doubles the time it stays open, up to this.', { default: '5m' }),
    successes: whole('Probes in a row that must succeed before it closes.', 1, 1_000, { default: 2 }),
    per: {
      description: '`tenant`: each tenant has a breaker of its own, and what has no tenant another one.',
      enum: ['destination', 'tenant'],
      default: 'destination',
    },
  },
);

export const delivery: JsonSchema = {
  timeout: duration('One deadline for a whole attempt: DNS, connect, TLS, headers and body.', { default: '15s' }),
  concurrency: whole('Attempts in flight at once, per process.', 1, 10_000, { default: 20 }),
  rate_limit: {
    description: 'At most this many attempts per second, minute or hour, per process. Default: no limit.',
    $ref: '#/definitions/rate',
  },
  tenant_concurrency: whole(
    'Attempts in flight at once for one tenant, per process. Default: no limit besides `concurrency`.',
    1,
    10_000,
  ),
  tenant_rate_limit: {
    description: 'At most this many attempts for one tenant, per process. Default: no limit.',
    $ref: '#/definitions/rate',
  },
  retry: { $ref: '#/definitions/retry' },
  outcomes: { $ref: '#/definitions/outcomes' },
  retry_after_max: duration(
    "The longest that a receiver's Retry-After may make it wait; with 429 and 503 the whole destination waits. `0s`: not heeded.",
    { default: '1h' },
  ),
  circuit_breaker: { $ref: '#/definitions/circuit_breaker' },
  addresses: { $ref: '#/definitions/addresses' },
};

const listed = (names: readonly string[]) => new Intl.ListFormat('en-GB').format(names.map((name) => `\`${name}\``));
const oneOf = (names: readonly string[]) => names.map((name) => ({ required: [name] }));

export const destinationDefinition: JsonSchema = record(
  `Somewhere deliveries go: exactly one of ${listed(declaredKinds)}, and how it wants to be treated.`,
  {
    ...Object.fromEntries(declaredKinds.map((name) => [name, kinds[name].destinationSchema])),
    ...Object.assign({}, ...declaredKinds.map((name) => kinds[name].destinationKeys)),
    ...delivery,
  },
  {
    oneOf: oneOf(declaredKinds),
    dependencies: Object.fromEntries(
      declaredKinds.flatMap((name) => Object.keys(kinds[name].destinationKeys ?? {}).map((key) => [key, [name]])),
    ),
  },
);

/** Keys that are wrong unless the action is of this kind. */
function only({ kind, actionKeys, actionRules }: Kind): JsonSchema {
  const everyKey = kindNames.flatMap((name) => Object.keys(kinds[name].actionKeys));
  const foreign = everyKey.filter((key) => !(key in actionKeys));
  return {
    if: { required: [kind] },
    // biome-ignore lint/suspicious/noThenProperty: a JSON Schema keyword
    then: { properties: Object.fromEntries(foreign.map((key) => [key, false])), ...actionRules },
  };
}

export const actionDefinition: JsonSchema = record(
  `What to do: exactly one of ${listed(kindNames)}, naming a destination of that kind.`,
  {
    ...Object.fromEntries(kindNames.map((name) => [name, kinds[name].reference])),
    name: text(
      'Unique within the observer. Default: kind and position, `webhook-1`. Receivers drop repeats by it: keep it stable.',
      {
        pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$',
        errorMessage: 'Letters, digits, `_`, `-` and `.`, at most 63',
      },
    ),
    timeout: duration("The destination's, unless given here."),
    retry: { $ref: '#/definitions/retry' },
    outcomes: { $ref: '#/definitions/outcomes' },
    ...Object.assign({}, ...kindNames.map((name) => kinds[name].actionKeys)),
  },
  {
    oneOf: oneOf(kindNames),
    allOf: kindNames.map((name) => only(kinds[name])),
  },
);
