import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseConfig } from '../../src/config/index.ts';
import { looksSensitive } from '../../src/starter/sensitive-columns.ts';
import { type StarterTable, starterFile } from '../../src/starter/starter-file.ts';

const place = { database: 'postgres://me@localhost:5432/shop', schema: './observers.schema.json' };
const orders: StarterTable = {
  schema: 'public',
  name: 'orders',
  partitioned: false,
  columns: ['id', 'status', 'total'],
  primaryKey: ['id'],
};

const read = (tables: readonly StarterTable[] | null) => {
  const starter = starterFile({ ...place, tables });
  return { starter, config: parseConfig(starter.text, { file: 'observers.yaml', env: {} }) };
};

test('without a database there is a source that needs no table', () => {
  const { config } = read(null);
  expect([...config.sources.values()]).toMatchObject([{ kind: 'topic', topic: 'hello' }]);
  expect([...config.observers.keys()]).toEqual(['hello-example']);
  expect(config.database).toBe(place.database);
  expect([...read([]).config.sources.keys()]).toEqual(['hello']);
});

test('a source per table, without what looks like a secret', () => {
  const { config, starter } = read([
    { ...orders, name: 'users', columns: ['id', 'email', 'password_hash', 'apiKey'] },
    orders,
    { ...orders, schema: 'sales', name: 'Big "Orders"', partitioned: true, primaryKey: ['id', 'status'] },
    { ...orders, name: 'sessions', columns: ['token', 'user_id'], primaryKey: ['token'] },
    { ...orders, name: 'vault', columns: ['secret'], primaryKey: [] },
    { ...orders, name: 'schema_migrations', columns: ['version'], primaryKey: ['version'] },
  ]);
  expect([...config.sources.values()]).toMatchObject([
    { name: 'users', columns: ['id', 'email'] },
    { name: 'orders', columns: null, schema: 'public', table: 'orders' },
    { name: 'sales-BigOrders', schema: 'sales', table: 'Big "Orders"' },
  ]);
  expect(starter.leftOut).toEqual(['public.sessions', 'public.vault', 'public.schema_migrations']);
  expect(starter.text).toContain('# left out, for they look like secrets: password_hash, apiKey\n');
  expect(starter.text).toContain('table: public.orders # primary key: id\n');
  expect(starter.text).toContain('# primary key: id, status; partitioned');
  // The example is about rows that have a status.
  expect([...config.observers.values()]).toMatchObject([{ source: { name: 'orders' }, mode: 'live' }]);
  expect([...config.destinations.values()]).toMatchObject([{ url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:/) }]);
});

test('what is commented out is right, too', () => {
  const env = {
    BILLING_WEBHOOK_SECRET: `whsec_${'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'}`,
    SMTP_URL: 'smtp://127.0.0.1',
    SLACK_BOT_TOKEN: 'xoxb-1',
  };
  const uncommented = starterFile({ ...place, tables: [orders] })
    .text.split('\n')
    // Sentences begin otherwise.
    .map((line) => line.replace(/^( *)# (?=[a-z -])(?!yaml-language-server)/, '$1'))
    .join('\n');
  const config = parseConfig(uncommented, { file: 'observers.yaml', env });
  expect([...config.destinations.keys()]).toEqual(['local', 'billing', 'mail', 'team']);
  const [observer] = config.observers.values();
  expect(observer).toMatchObject({ mode: 'shadow', orderBy: expect.anything(), when: expect.anything() });
  expect(observer?.actions.map(({ kind }) => kind)).toEqual(['webhook', 'webhook', 'email', 'slack']);
});

test('whatever names a database has, the file is valid and says the same tables', () => {
  const name = fc
    .oneof(
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }),
      fc.constantFrom('no', 'null', '${X}', '# a', "it's", 'a\nb', '-', '"', '${{ x }}', '1'),
    )
    .filter(
      (text) => !text.includes('\0') && !/[\ud800-\udfff]/.test(text.replaceAll(/[\ud800-\udbff][\udc00-\udfff]/g, '')),
    );
  const tables = fc.uniqueArray(
    fc.record({
      schema: fc.oneof(fc.constant('public'), name),
      name,
      partitioned: fc.boolean(),
      columns: fc.uniqueArray(name, { minLength: 1, maxLength: 4 }),
      primaryKey: fc.constant([]),
    }),
    { maxLength: 5, selector: (table) => JSON.stringify([table.schema, table.name]) },
  );
  fc.assert(
    fc.property(tables, (some) => {
      const { config, starter } = read(some);
      const tableSources = [...config.sources.values()].flatMap((s) =>
        s.kind === 'table' ? [`${s.schema}.${s.table}`] : [],
      );
      expect([...tableSources, ...starter.leftOut].sort()).toEqual(some.map((t) => `${t.schema}.${t.name}`).sort());
    }),
    { numRuns: 300 },
  );
});

describe('names of columns', () => {
  test.each(
    'password password_hash passwordHash user_pwd api_key apiKey APIKey private_key token accessToken refresh_tokens client_secret card_last4 creditCard cvv ssn iban pin otp_code salt_1 credentials stripe_secret PassWord'.split(
      ' ',
    ),
  )('%s looks like a secret', (column) => expect(looksSensitive(column)).toBe(true));
  test.each(
    'id status total key primary_key keyboard email discard cardinal pinned spinner author passenger created_at cardboard_id'.split(
      ' ',
    ),
  )('%s does not', (column) => expect(looksSensitive(column)).toBe(false));
});
