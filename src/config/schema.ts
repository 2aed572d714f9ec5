// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { addressesDefinition } from './addresses.ts';
import {
  actionDefinition,
  circuitBreakerDefinition,
  delivery,
  destinationDefinition,
  outcomesDefinition,
  retryDefinition,
} from './schema-delivery.ts';
import {
  duration,
  durationDefinition,
  flag,
  type JsonSchema,
  named,
  rateDefinition,
  record,
  text,
  whole,
} from './schema-values.ts';

/**
 * The format of observers.yaml as JSON Schema draft-07: one truth for `validate` and for completion and hover texts in
 * editors. schema/observers.schema.json is written from it by `npm run schema`.
 */

/** Keys of a source that belong to a table. */
export const tableKeys: JsonSchema = {
  operations: {
    description: 'Which changes to capture.',
    type: 'array',
    items: { enum: ['insert', 'update', 'delete', 'truncate'] },
    minItems: 1,
    uniqueItems: true,
    default: ['insert', 'update', 'delete'],
  },
  columns: {
    description: 'Columns to capture. Leave out what receivers must not see. Default: all, also ones added later.',
    type: 'array',
    items: { type: 'string', minLength: 1 },
    minItems: 1,
    uniqueItems: true,
  },
  where: text(
    'SQL over `new`, `old` and the bare columns, evaluated in the trigger: rows for which it is not true are not captured.',
    {
      examples: ['total > 0'],
    },
  ),
  tenant: text('Column that names the tenant.'),
  notify: flag(
    'Wake the router on commit. `false`: events wait for the next poll, and writers may use PREPARE TRANSACTION.',
    true,
  ),
  replicated: flag('Capture rows applied by logical replication too (row-level triggers, ENABLE ALWAYS).', false),
};

const notOfTables = { properties: Object.fromEntries(Object.keys(tableKeys).map((key) => [key, false])) };

const sourceDefinition = record(
  'Where events come from: exactly one of `table`, `channel` and `topic`.',
  {
    table: text('Table whose changes are captured by triggers that `apply` installs.', {
      examples: ['public.orders', 'orders', '"My Schema"."Orders"'],
    }),
    channel: text(
      'Channel of your own NOTIFY; payloads are JSON or text. Postgres keeps no notification for an absent listener.',
    ),
    topic: text("Topic of `select observers.emit('topic', '{…}')`: durable, in your transaction."),
    ...tableKeys,
  },
  {
    oneOf: [{ required: ['table'] }, { required: ['channel'] }, { required: ['topic'] }],
    // biome-ignore lint/suspicious/noThenProperty: a JSON Schema keyword
    allOf: ['channel', 'topic'].map((kind) => ({ if: { required: [kind] }, then: notOfTables })),
  },
);

const observerDefinition = record(
  'When what happens at a source, and what to do then.',
  {
    source: text('Name of a source.'),
    on: {
      description: 'Operations it listens to. Default: all that the source captures. `read` comes from backfills.',
      type: 'array',
      items: { enum: ['insert', 'update', 'delete', 'truncate', 'read', 'notify', 'emit'] },
      minItems: 1,
      uniqueItems: true,
    },
    when: {
      description:
        'Condition: an expression (CEL) or a tree. Variables: event, new, old, changed, payload. Default: every event.',
      type: ['string', 'object'],
      minLength: 1,
      examples: [
        '"status" in changed && new.status == "paid"',
        { all: [{ changed: 'status' }, { 'new.status': 'paid' }] },
      ],
    },
    order_by: {
      description:
        '`key`, or an expression: deliveries with the same value to one destination go first in, first out. The long form also says what a dead one means for those behind it.',
      type: ['string', 'object'],
      minLength: 1,
      required: ['expression'],
      additionalProperties: false,
      properties: {
        expression: text('`key`, or an expression.', { examples: ['key', 'new.customer_id'] }),
        on_dead: {
          description:
            'When one of them becomes a dead letter: `skip` goes on with the next, `block` waits until it is replayed with success or discarded.',
          enum: ['skip', 'block'],
          default: 'skip',
        },
      },
      examples: ['key', 'new.customer_id', { expression: 'key', on_dead: 'block' }],
    },
    mode: {
      description:
        '`shadow`: record in the history what it would send, and send nothing. To try a new rule beside the running ones.',
      enum: ['live', 'shadow'],
      default: 'live',
    },
    actions: {
      description: 'What to do, each on its own: one that fails does not hold up the others.',
      type: 'array',
      minItems: 1,
      items: { $ref: '#/definitions/action' },
    },
  },
  { required: ['source', 'actions'] },
);

const tenantQuota: JsonSchema = {
  max_pending: whole(
    'Deliveries of a tenant that may wait, about: what comes on top becomes dead letters (`over_quota`), to be replayed.',
    1,
    1_000_000_000,
  ),
  max_rate: {
    description: 'At most this many attempts for a tenant at all destinations together, per process.',
    $ref: '#/definitions/rate',
  },
};

const settings = record('The program itself. Each also by environment variable (PG_OBSERVERS_LISTEN, …), which wins.', {
  listen: text('`host:port` of the HTTP server (health and status), or `off`.', {
    default: '127.0.0.1:7420',
  }),
  poll_interval: duration('How often to look for events when nothing woke the router.', { default: '1s' }),
  instance_timeout: duration('An instance silent for this long is taken for dead, and its work handed on.', {
    default: '10s',
  }),
  retention: record('How long to keep the past.', {
    events: duration('The event log.', { default: '7d' }),
    attempts: duration('The history of attempts.', { default: '7d' }),
    max_size: text(
      'What log and history may take on disk together. Above it the oldest days go before their time, but never an event that is not routed or not delivered.',
      {
        pattern: '^[0-9]+(\\.[0-9]+)? ?([kMGT]?B|[KMGT]iB)$|\\$\\{',
        errorMessage: 'A number and a unit: 500MB, 50GB, 1.5TB, 64GiB',
        examples: ['50GB'],
      },
    ),
    archive: record(
      'Where each day is written before it is dropped: a compressed file of JSON lines. A day that could not be written stays.',
      {
        directory: text('It must exist. A relative path starts at this file.', {
          examples: ['/var/lib/pg-observers/archive'],
        }),
      },
      { required: ['directory'] },
    ),
  }),
  environment: text('Kept in the database too: a database cloned from `production` refuses to run as `staging`.', {
    pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$|^\\$\\{',
    errorMessage: 'Letters, digits, `_`, `-` and `.`, at most 63',
    examples: ['production'],
  }),
  opentelemetry: record(
    'Where to send spans of events and attempts, by OTLP over HTTP. Needs the packages @opentelemetry/sdk-trace-base, …/exporter-trace-otlp-http and …/resources.',
    {
      endpoint: text('Where a collector takes traces.', { examples: ['http://127.0.0.1:4318/v1/traces'] }),
      headers: {
        description: 'Headers of the requests to it, such as an API key.',
        type: 'object',
        additionalProperties: { type: 'string' },
      },
      service_name: text('The name under which the spans appear.', { default: 'pg-observers' }),
      sample: {
        description:
          'Share of the traces begun here that are reported, from 0 to 1. A trace that the application began says for itself whether it is.',
        type: ['number', 'string'],
        minimum: 0,
        maximum: 1,
        pattern: '^\\$\\{',
        default: 1,
      },
    },
    { required: ['endpoint'] },
  ),
  max_depth: whole(
    'How many `sql` actions may follow from one another, each by the events of the one before; then the next one is a dead letter (`loop`).',
    1,
    100,
    { default: 8 },
  ),
  attempts: { description: 'Which attempts the history keeps.', enum: ['all', 'failures', 'none'], default: 'all' },
  tenants: record('What one tenant may have of everything. Default: no bounds.', {
    ...tenantQuota,
    overrides: {
      description: 'For single tenants, by name; what one does not say is as for all.',
      type: 'object',
      additionalProperties: record('For this tenant.', tenantQuota),
    },
  }),
});

export const schema: JsonSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'observers.yaml',
  ...record(
    'pg-observers: what to observe in PostgreSQL and what to do about it.',
    {
      version: { description: 'Version of this format.', enum: [1] },
      database: text('postgres:// URL. Default: the environment variable DATABASE_URL.', {
        examples: ['${DATABASE_URL}'],
      }),
      direct_database: text(
        'postgres:// URL of the same database past a pooler in transaction mode, which `database` may then be. Also PG_OBSERVERS_DIRECT_DATABASE.',
        { examples: ['${DIRECT_URL}'] },
      ),
      sources: named('Where events come from, by name.', 'source'),
      destinations: named('Where deliveries go, by name.', 'destination'),
      observers: named('The rules, by name.', 'observer'),
      defaults: record('For every destination that does not say otherwise.', delivery),
      settings,
    },
    { required: ['version'] },
  ),
  definitions: {
    duration: durationDefinition,
    rate: rateDefinition,
    retry: retryDefinition,
    outcomes: outcomesDefinition,
    circuit_breaker: circuitBreakerDefinition,
    addresses: addressesDefinition,
    source: sourceDefinition,
    destination: destinationDefinition,
    action: actionDefinition,
    observer: observerDefinition,
  },
};
