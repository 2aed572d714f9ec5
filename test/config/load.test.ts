// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FrozenMap } from '../../src/config/frozen-map.ts';
import { type ConfigInput, defineConfig, loadConfig } from '../../src/config/index.ts';
import { ConfigError, UserError } from '../../src/domain/errors.ts';
import { builtInOutcomes, type OutcomePolicy } from '../../src/domain/outcome-policy.ts';
import { createScope } from '../../src/expression/index.ts';
import { database, messagesOf, parse, shop } from './support.ts';

test('a table source, with and without defaults', () => {
  const { sources } = parse(`version: 1
sources:
  plain: { table: orders }
  full:
    table: '"My Schema"."Ta.""ble"'
    operations: [insert, truncate]
    columns: [id, Total]
    where: total > 0
    tenant: tenant_id
    notify: false
    replicated: true
`);
  expect(sources.get('plain')).toEqual({
    kind: 'table',
    name: 'plain',
    position: { line: 3, column: 3 },
    schema: 'public',
    table: 'orders',
    operations: ['insert', 'update', 'delete'],
    columns: null,
    where: null,
    tenant: null,
    notify: true,
    replicated: false,
  });
  expect(sources.get('full')).toEqual({
    kind: 'table',
    name: 'full',
    position: { line: 4, column: 3 },
    schema: 'My Schema',
    table: 'Ta."ble',
    operations: ['insert', 'truncate'],
    columns: ['id', 'Total'],
    where: 'total > 0',
    tenant: 'tenant_id',
    notify: false,
    replicated: true,
  });
});

test('delivery options come from the action, the destination, the defaults and what is built in, in this order', () => {
  const { observers, destinations } = parse(`version: 1
defaults: { timeout: 20s, retry: { attempts: 4, factor: 3 }, circuit_breaker: { window: 1m } }
sources: { s: { topic: t } }
destinations:
  a: { webhook: { url: https://a.example }, timeout: 1.5s, rate_limit: 10/h, retry: { initial: 100ms, factor: 4 } }
  b: { webhook: { url: https://b.example }, concurrency: 1e3 }
observers:
  o:
    source: s
    actions: [{ webhook: a, retry: { attempts: 2, jitter: none } }, { webhook: b, timeout: 100ms }]
`);
  const breaker = {
    failureRate: 0.5,
    minimum: 10,
    windowMs: 60_000,
    openForMs: 10_000,
    openForMaxMs: 300_000,
    successes: 2,
    per: 'destination',
  };
  expect(destinations.get('a')).toMatchObject({
    timeoutMs: 1_500,
    concurrency: 20,
    rateLimit: { count: 10, perMs: 3_600_000 },
    retry: { attempts: 4, initialMs: 100, factor: 4, maxMs: 300_000, jitter: 'full', schedule: null, maxAgeMs: null },
    circuitBreaker: breaker,
  });
  expect(destinations.get('b')).toMatchObject({
    timeoutMs: 20_000,
    concurrency: 1_000,
    rateLimit: null,
    circuitBreaker: breaker,
  });
  const [first, second] = observers.get('o')?.actions ?? [];
  expect(first).toMatchObject({
    name: 'webhook-1',
    timeoutMs: 1_500,
    retry: { attempts: 2, initialMs: 100, factor: 4, maxMs: 300_000, jitter: 'none', schedule: null, maxAgeMs: null },
  });
  expect(second).toMatchObject({ name: 'webhook-2', timeoutMs: 100, retry: { attempts: 4, factor: 3 } });
});

test('retry as a list, as an object, and what the next one makes of it', () => {
  const config = parse(`version: 1
defaults: { retry: [5s, 5m] }
destinations:
  as-list: { webhook: { url: https://a.example } }
  as-object: { webhook: { url: https://a.example }, retry: { schedule: [1s], jitter: full, max_age: 3d } }
  aged: { webhook: { url: https://a.example }, retry: { max_age: 1h } }
  growing: { webhook: { url: https://a.example }, retry: { attempts: 3 } }
`);
  const retry = (name: string) => config.destinations.get(name)?.retry;
  const list = { attempts: 3, schedule: [5_000, 300_000], jitter: 'none', maxAgeMs: null };
  expect(retry('as-list')).toMatchObject(list);
  expect(retry('as-object')).toMatchObject({ attempts: 2, schedule: [1_000], jitter: 'full', maxAgeMs: 259_200_000 });
  expect(retry('aged')).toMatchObject({ ...list, maxAgeMs: 3_600_000 });
  expect(retry('growing')).toMatchObject({ attempts: 3, initialMs: 1_000, schedule: null, jitter: 'full' });
});

test('outcomes: defaults, over them the destination, over that the action; each for its kind', () => {
  const config = parse(`version: 1
sources: { s: { topic: s } }
defaults: { outcomes: { reject: [tls, smtp_451], disable: [401] } }
destinations:
  hook: { webhook: { url: https://a.example }, outcomes: { retry: [404, 202], reject: 429 }, retry_after_max: 5m }
  mail: { email: { smtp: 'smtp://localhost', from: a@b.example } }
observers:
  o:
    source: s
    actions:
      - { webhook: hook, outcomes: { success: [404] } }
      - webhook: hook
      - webhook: https://b.example/
`);
  const facts = { responseExcerpt: null, message: 'no', fallback: 'retry', retryAfterMs: null, request: null } as const;
  const http = (outcomes: OutcomePolicy | undefined, status: number) =>
    outcomes?.judge({
      ...facts,
      status,
      errorClass: status < 300 ? null : `http_${status}`,
      names: [`http_${status}`],
    });
  const hook = config.destinations.get('hook')?.outcomes;
  expect([401, 404, 202, 429, 500, 410].map((status) => http(hook, status))).toEqual([
    'disable',
    'retry',
    'retry',
    'reject',
    'retry',
    'disable',
  ]);
  const actions = config.observers.get('o')?.actions ?? [];
  expect(actions.map(({ outcomes }) => http(outcomes, 404))).toEqual(['success', 'retry', 'reject']);
  expect(actions.map(({ outcomes }) => http(outcomes, 401))).toEqual(['disable', 'disable', 'disable']);
  const mail = config.destinations.get('mail')?.outcomes;
  const smtp = (status: number) =>
    mail?.judge({ ...facts, status, errorClass: `smtp_${status}`, names: [`smtp_${status}`] });
  expect([450, 451, 550].map(smtp)).toEqual(['retry', 'reject', 'reject']);
  expect(mail?.judge({ ...facts, status: null, errorClass: 'tls', names: ['tls', 'network'] })).toBe('reject');
  expect([hook, mail].map((_, i) => [...config.destinations.values()][i]?.retryAfterMaxMs)).toEqual([
    300_000, 3_600_000,
  ]);
});

test('without options the built-in ones hold', () => {
  const config = parse('version: 1\ndestinations: { a: { webhook: { url: https://a.example } } }\n');
  expect(config.destinations.get('a')).toEqual({
    kind: 'webhook',
    name: 'a',
    position: { line: 2, column: 17 },
    url: 'https://a.example',
    urlTemplate: null,
    method: 'POST',
    format: 'json',
    query: [],
    secrets: [],
    headers: {},
    gathering: null,
    oauth2: null,
    tls: null,
    addresses: { guard: 'auto', allow: [], deny: [] },
    timeoutMs: 15_000,
    concurrency: 20,
    rateLimit: null,
    tenantConcurrency: null,
    tenantRateLimit: null,
    retry: { attempts: 8, initialMs: 1_000, factor: 2, maxMs: 300_000, jitter: 'full', schedule: null, maxAgeMs: null },
    outcomes: builtInOutcomes('webhook'),
    retryAfterMaxMs: 3_600_000,
    circuitBreaker: null,
  });
  expect(config.settings).toEqual({
    listen: { host: '127.0.0.1', port: 7420 },
    pollIntervalMs: 1_000,
    instanceTimeoutMs: 10_000,
    retention: { eventsMs: 604_800_000, attemptsMs: 604_800_000, maxBytes: null, archive: null },
    environment: null,
    opentelemetry: null,
    maxDepth: 8,
    attempts: 'all',
    tenants: { common: { maxPending: null, maxRate: null }, named: new FrozenMap([]) },
  });
  expect(config.database).toBe(database);
});

test('order_by in its short and its long form', () => {
  const ordering = (written: string): unknown => {
    const yaml = shop(`observers: { o: { source: orders, ${written} actions: [{ webhook: billing }] } }\n`);
    const { orderBy, onDead } = parse(yaml).observers.get('o') ?? {};
    return { orderBy: orderBy?.source ?? null, onDead };
  };
  expect(ordering('')).toEqual({ orderBy: null, onDead: 'skip' });
  expect(ordering('order_by: key,')).toEqual({ orderBy: 'event.key', onDead: 'skip' });
  expect(ordering('order_by: { expression: new.id },')).toEqual({ orderBy: 'new.id', onDead: 'skip' });
  expect(ordering('order_by: { expression: key, on_dead: block },')).toEqual({ orderBy: 'event.key', onDead: 'block' });
});

test('what an observer listens to follows from its source; backfills only when asked for', () => {
  const rules = (on: string, source = 'orders'): string =>
    shop(`observers: { o: { source: ${source}, ${on} actions: [{ webhook: billing }] } }\n`);
  const listens = (yaml: string): unknown => parse(yaml).observers.get('o')?.on;
  expect(listens(rules(''))).toEqual(['insert', 'update', 'delete']);
  expect(listens(rules('on: [read, insert],'))).toEqual(['read', 'insert']);
  expect(listens(rules('', 'pings'))).toEqual(['notify']);
});

test('a literal URL is a destination with the defaults, and its name shows no secret', () => {
  const { destinations } = parse(
    shop(`observers:
  o:
    source: orders
    actions:
      - webhook: https://ops.example.com/a
      - webhook: https://ops.example.com/a
      - webhook: https://user:hunter2@ops.example.com/a?token=t0psecret
      - webhook: https://ops.example.com/a?token=\${TOKEN}
`),
    { TOKEN: 'another-secret' },
  );
  const names = [...destinations.keys()].filter((name) => name.includes('://'));
  expect(names).toHaveLength(3);
  expect(names[0]).toBe('https://ops.example.com/a');
  expect(names.slice(1)).toEqual([
    expect.stringMatching(/^https:\/\/ops\.example\.com\/a~[0-9a-f]{8}$/),
    expect.stringMatching(/^https:\/\/ops\.example\.com\/a~[0-9a-f]{8}$/),
  ]);
  expect(destinations.get(names[2] ?? '')).toMatchObject({ url: 'https://ops.example.com/a?token=another-secret' });
});

test('variables: default, file, escape, none inside ${{ }}, and what they hold is not searched again', () => {
  const config = parse(
    shop(`observers:
  o:
    source: orders
    actions:
      - webhook: billing
        headers:
          a: \${A}-\${B:-fallback}-\${EMPTY:-}-$5
          b: \${file:/run/key}
          c: $\${A}
          d: '\${{ "\${A}" }}'
`),
    { A: '${B}' },
    { '/run/key': 'from a file\n' },
  );
  const scope = createScope({
    id: '1', uid: 'u', source: 'orders', operation: 'insert', schema: null, table: null, key: null, tenant: null,
    old: null, new: '{}', payload: null, context: null, at: '2026-01-01T00:00:00.000000Z',
  }); // biome-ignore format: one record
  const [action] = config.observers.get('o')?.actions ?? [];
  const headers = action?.kind === 'webhook' ? action.headers : {};
  const sent = Object.entries(headers).map(([name, template]) => [name, template.renderText(scope)]);
  expect(Object.fromEntries(sent)).toEqual({ a: '${B}-fallback--$5', b: 'from a file', c: '${A}', d: '${A}' });
});

test('numbers and booleans may come from variables; text that looks like a number stays text', () => {
  const config = parse(
    `version: 1
sources: { s: { table: t, notify: \${NOTIFY} } }
destinations: { a: { slack: { token: \${N} }, concurrency: \${N}, retry: { factor: \${F} } } }
`,
    { N: '12', F: '1.5', NOTIFY: 'false' },
  );
  expect(config.sources.get('s')).toMatchObject({ notify: false });
  expect(config.destinations.get('a')).toMatchObject({
    auth: { token: '12' },
    concurrency: 12,
    retry: { factor: 1.5 },
  });
  expect(messagesOf('version: 1\ndefaults: { concurrency: ${N} }\n', { N: 'many' })).toEqual([
    'observers.yaml:2:26  `concurrency` must be a whole number from 1 to 10000, not `${N}`',
  ]);
});

test('the configuration is frozen, all the way down', () => {
  const config = parse(shop('observers: { o: { source: orders, actions: [{ webhook: billing, body: { a: 1 } }] } }\n'));
  const loose: string[] = [];
  const visit = (value: unknown, path: string): void => {
    if (value === null || typeof value !== 'object' || 'render' in value || 'evaluate' in value) return;
    if (!Object.isFrozen(value)) loose.push(path);
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    for (const [name, child] of entries) visit(child, `${path}.${name}`);
  };
  visit(config, 'config');
  expect(loose).toEqual([]);
  expect(() => (config.sources as Map<string, unknown>).set('x', 1)).toThrow('frozen');
});

test('a typed object is read like the file', () => {
  const input: ConfigInput = {
    version: 1,
    database: '${DB}',
    sources: { s: { topic: 't' } },
    observers: {
      o: {
        source: 's',
        when: { 'payload.x': 1 },
        actions: [{ webhook: 'https://a.example/x', body: { n: '${{ payload.n }}' } }],
      },
    },
  };
  const config = defineConfig(input, { env: { DB: database } });
  expect(config).toMatchObject({ file: null, database });
  expect(config.observers.get('o')?.actions[0]?.destination.name).toBe('https://a.example/x');
  const bad = { ...input, observers: { o: { source: 'x', when: () => true, actions: [] } } } as unknown as ConfigInput;
  expect(() => defineConfig(bad, { env: {} })).toThrow(/^config:1:1 {2}`when` is a function {2}\(/);
  expect(() => defineConfig({ version: 1, database: 'x' }, { env: {} })).toThrow(
    /^config:3:15 {2}`database` is not a postgres/,
  );
  const loop: Record<string, unknown> = { version: 1 };
  loop.sources = loop;
  expect(() => defineConfig(loop as unknown as ConfigInput)).toThrow(ConfigError);
});

test('a file is read from disk, with secrets beside it; one that is not there says what to do', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'config-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const file = join(directory, 'observers.yaml');
  await writeFile(file, 'version: 1\ndatabase: postgres://u:${file:password}@localhost/x\n');
  await writeFile(join(directory, 'password'), 'hunter22\n');
  const config = await loadConfig(file, { env: {} });
  expect(config).toMatchObject({ file, database: 'postgres://u:hunter22@localhost/x', secrets: ['hunter22'] });
  const missing = join(directory, 'nope.yaml');
  const error = await loadConfig(missing).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(UserError);
  expect(error).toMatchObject({ exitStatus: 2, message: `can't read ${missing}: no such file  (pass --config FILE)` });
});

test('integers beyond 2^53 in a body keep their digits', () => {
  const config = parse(
    shop('observers: { o: { source: orders, actions: [{ webhook: billing, body: 12345678901234567890 }] } }\n'),
  );
  const [action] = config.observers.get('o')?.actions ?? [];
  const record = {
    id: '1',
    uid: 'u',
    source: 'orders',
    operation: 'insert',
    schema: null,
    table: null,
    key: null,
  } as const;
  const scope = createScope({
    ...record,
    tenant: null,
    old: null,
    new: '{}',
    payload: null,
    context: null,
    at: '2026-01-01T00:00:00Z',
  });
  expect(action?.kind === 'webhook' && action.body?.renderJson(scope)).toBe('12345678901234567890');
});
