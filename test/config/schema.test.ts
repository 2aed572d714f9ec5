import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { parseDocument } from 'yaml';
import { loadConfig, parseConfig } from '../../src/config/index.ts';
import { testSchema } from '../../src/config/rule-tests/schema.ts';
import { schema } from '../../src/config/schema.ts';
import { schemaFile, schemaIsUpToDate } from '../../src/config/write-schema.ts';

const example = new URL('../../observers.example.yaml', import.meta.url);
const exampleText = readFileSync(example, 'utf8');
const exampleEnv = {
  DATABASE_URL: 'postgres://localhost/shop',
  BILLING_WEBHOOK_SECRET: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  SMTP_URL: 'smtp://127.0.0.1:2525',
  SLACK_BOT_TOKEN: 'xoxb-1',
  OPS_URL: 'http://127.0.0.1:7431/ops',
};

test('schema/observers.schema.json is what `npm run schema` writes', () => {
  expect(schemaIsUpToDate(), 'run `npm run schema`').toBe(true);
});

test('every key has a hover text', () => {
  const silent: string[] = [];
  const visit = (value: unknown, path: string): void => {
    if (value === null || typeof value !== 'object') return;
    for (const [key, child] of Object.entries(value)) {
      const at = `${path}/${key}`;
      const isKey = path.endsWith('/properties') && typeof child === 'object' && !path.includes('/then/');
      const text = { ...(child as object) } as { description?: string; $ref?: string };
      const target = text.$ref?.split('/').at(-1);
      const definitions = schema.definitions as Record<string, { description?: string }>;
      if (isKey && text.description === undefined && definitions[target ?? '']?.description === undefined)
        silent.push(at);
      visit(child, at);
    }
  };
  visit(schema, '');
  expect(silent).toEqual([]);
});

test('an editor, which sees variables unresolved, finds nothing wrong with the example', () => {
  const ajv = new Ajv({ strict: false, allErrors: true });
  const validate = ajv.compile(JSON.parse(readFileSync(schemaFile, 'utf8')));
  const document = parseDocument(exampleText);
  expect(document.errors).toEqual([]);
  validate(document.toJS());
  expect(validate.errors ?? []).toEqual([]);
});

// Commands don't: it takes longer than reading the rules.
test.each([schema, testSchema])('each format is a JSON Schema', (format) => {
  const ajv = new Ajv({ strict: false });
  expect(ajv.validateSchema(format), ajv.errorsText()).toBe(true);
});

test('the example loads, and is short enough to be read', async () => {
  const config = await loadConfig(example.pathname, { env: exampleEnv });
  expect([...config.sources.keys()]).toEqual(['orders', 'customers', 'payments', 'signups']);
  expect([...config.destinations.keys()]).toEqual(['billing', 'customer-mail', 'sales', 'ops', 'log']);
  const actions = [...config.observers].map(([name, { actions }]) => [name, actions.map((action) => action.name)]);
  expect(Object.fromEntries(actions)).toEqual({
    'big-order-paid': ['webhook-1', 'email-2', 'slack-3'],
    'order-cancelled': ['webhook-1', 'log-2'],
    'new-customer': ['welcome'],
    'payment-received': ['webhook-1'],
    signup: ['slack-1'],
  });
  expect(exampleText.trimEnd().split('\n').length).toBeLessThanOrEqual(115);
});

test('each variable of the example is asked for when it is missing', () => {
  expect(() => parseConfig(exampleText, { file: 'observers.yaml', env: {} })).toThrow(
    /DATABASE_URL is not set[\s\S]*BILLING_WEBHOOK_SECRET is not set[\s\S]*SMTP_URL is not set[\s\S]*SLACK_BOT_TOKEN is not set[\s\S]*OPS_URL is not set/,
  );
});
