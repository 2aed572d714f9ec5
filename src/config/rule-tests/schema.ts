// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { type JsonSchema, record, text } from '../schema-values.ts';

/** The format of observers.test.yaml, for `pg-observers test` and for editors. */

/** What happens to a row or arrives as a message; the value is the name of the source. */
export const operationKeys: JsonSchema = {
  insert: text('Table source into which the row `new` is inserted.'),
  update: text(
    'Table source in which the row `old` becomes `new`. A column that only one of them names is the same in both.',
  ),
  delete: text('Table source from which the row `old` is deleted.'),
  truncate: text('Table source that is emptied.'),
  read: text('Table source whose row `new` a backfill reads.'),
  notify: text('Channel source on which `payload` arrives.'),
  emit: text('Topic source for which `payload` is emitted.'),
};

const row = (description: string): JsonSchema => ({ description, type: 'object' });

const given = record(
  'What happens: exactly one of `insert`, `update`, `delete`, `truncate`, `read`, `notify` and `emit`, naming a source.',
  {
    ...operationKeys,
    old: row('The row before, as PostgreSQL makes JSON of it.'),
    new: row('The row after, as PostgreSQL makes JSON of it.'),
    payload: { description: 'The message: any JSON value. Default: null.' },
    key: { description: '`event.key`. Default: the column `id` of the row, if it has one.', type: ['string', 'null'] },
    tenant: { description: "`event.tenant`. Default: the source's `tenant` column.", type: ['string', 'null'] },
    context: row('`event.context`.'),
    id: text('`event.id`, a UUID.', {
      pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$',
      errorMessage: 'A UUID in lower case',
    }),
    at: text('`event.at`. Default: 2026-01-01T00:00:00.000000Z.', {
      pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z$',
      errorMessage: 'Written as 2026-01-01T00:00:00.000000Z',
    }),
  },
  { oneOf: Object.keys(operationKeys).map((key) => ({ required: [key] })) },
);

const observers = (description: string): JsonSchema => ({
  description,
  type: 'array',
  items: { type: 'string', minLength: 1 },
  uniqueItems: true,
});

const expected: JsonSchema = {
  description: 'A list: exactly these observers fire. Or a mapping that says more.',
  type: ['array', 'object'],
  items: { type: 'string', minLength: 1 },
  uniqueItems: true,
  minProperties: 1,
  additionalProperties: false,
  properties: {
    only: observers('Exactly these fire.'),
    fires: observers('These fire, others may.'),
    not: observers('These do not fire.'),
    faults: observers('Their conditions can’t be evaluated on this event, and a dead letter would say so.'),
    requests: {
      description:
        'What their actions would send, by observer and action (`webhook-1`, or its `name`). Compared is what is written here; what a request has besides does not matter.',
      type: 'object',
      additionalProperties: { type: 'object', minProperties: 1, additionalProperties: { type: 'object' } },
    },
  },
};

export const testSchema: JsonSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'observers.test.yaml',
  ...record(
    'Tests of the rules of pg-observers: what happens, and what they make of it.',
    {
      version: { description: 'Version of this format.', enum: [1] },
      config: text('The rules, seen from this file. Default: observers.yaml beside it.', { default: 'observers.yaml' }),
      env: {
        description:
          'Variables of the rules (`${NAME}`). Those of the environment are not used; what is unset stands for something harmless.',
        type: 'object',
        additionalProperties: { type: 'string' },
      },
      tests: {
        description: 'Each on its own.',
        type: 'array',
        minItems: 1,
        items: record(
          'One event and what is expected of it.',
          { name: text('Unique within the file.'), given, expect: expected },
          { required: ['name', 'given', 'expect'] },
        ),
      },
    },
    { required: ['version', 'tests'] },
  ),
};
