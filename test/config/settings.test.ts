// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { expect, test } from 'vitest';
import { FrozenMap } from '../../src/config/frozen-map.ts';
import { parseConfig } from '../../src/config/index.ts';
import { messagesOf, parse } from './support.ts';

test('an environment variable wins over a setting of the file', () => {
  const yaml = 'version: 1\nsettings: { listen: 127.0.0.1:1, poll_interval: 5s, retention: { events: 1d } }\n';
  const { settings } = parse(yaml, {
    PG_OBSERVERS_LISTEN: '[::1]:8080',
    PG_OBSERVERS_INSTANCE_TIMEOUT: '',
    PG_OBSERVERS_RETENTION_EVENTS: '2d',
    PG_OBSERVERS_RETENTION_ATTEMPTS: '3h',
    PG_OBSERVERS_ENVIRONMENT: 'staging',
    PG_OBSERVERS_ATTEMPTS: 'failures',
    PG_OBSERVERS_OPENTELEMETRY_ENDPOINT: 'http://collector:4318/v1/traces',
    PG_OBSERVERS_OPENTELEMETRY_SAMPLE: '0.1',
  });
  expect(settings).toEqual({
    listen: { host: '::1', port: 8080 },
    pollIntervalMs: 5_000,
    instanceTimeoutMs: 10_000,
    retention: { eventsMs: 172_800_000, attemptsMs: 10_800_000, maxBytes: null, archive: null },
    environment: 'staging',
    opentelemetry: {
      endpoint: 'http://collector:4318/v1/traces',
      headers: {},
      serviceName: 'pg-observers',
      sample: 0.1,
    },
    maxDepth: 8,
    attempts: 'failures',
    tenants: { common: { maxPending: null, maxRate: null }, named: new FrozenMap([]) },
  });
  expect(parse('version: 1\nsettings: { listen: off }\n').settings).toMatchObject({
    listen: null,
    opentelemetry: null,
  });
  expect(
    messagesOf(yaml, { PG_OBSERVERS_OPENTELEMETRY_ENDPOINT: 'http://c/', PG_OBSERVERS_OPENTELEMETRY_SAMPLE: '2' }),
  ).toEqual([expect.stringContaining('`PG_OBSERVERS_OPENTELEMETRY_SAMPLE` must be a number from 0 to 1')]);
  expect(messagesOf(yaml, { PG_OBSERVERS_POLL_INTERVAL: '1' })).toEqual([
    'observers.yaml:2:49  `PG_OBSERVERS_POLL_INTERVAL` has no unit  (write a number and a unit: 500ms, 10s, 5m, 2h, 7d)',
  ]);
});

test('without `database` and DATABASE_URL it says so', () => {
  expect(messagesOf('version: 1\n', { DATABASE_URL: '' })).toEqual([
    'observers.yaml:1:1  there is no database  (set the environment variable DATABASE_URL, or write `database: postgres://…`)',
  ]);
});

test('another database can be asked for, whatever the file says', () => {
  const text = 'version: 1\ndatabase: ${NOT_SET}\n';
  const options = { file: 'observers.yaml', env: {} };
  const config = parseConfig(text, { ...options, database: 'postgres://u:hunter22@other/db' });
  expect(config).toMatchObject({ database: 'postgres://u:hunter22@other/db', secrets: ['hunter22'] });
  expect(() => parseConfig(text, { ...options, database: 'nowhere' })).toThrow(
    'observers.yaml:2:11  `database` is not a postgres:// URL',
  );
});

test('a way past a pooler: from the file, from the environment, and only with the database of the file', () => {
  const yaml = 'version: 1\ndatabase: postgres://pool/shop\ndirect_database: postgres://u:hunter22@server/shop\n';
  const config = parse(yaml);
  expect([config.database, config.directDatabase]).toEqual([
    'postgres://pool/shop',
    'postgres://u:hunter22@server/shop',
  ]);
  expect(config.secrets).toContain('hunter22');
  const variable = { PG_OBSERVERS_DIRECT_DATABASE: 'postgres://other/shop' };
  expect(parse(yaml, variable).directDatabase).toBe('postgres://other/shop');
  const none = 'version: 1\ndatabase: postgres://pool/shop\n';
  expect(parse(none).directDatabase).toBeNull();
  expect(parse(none, variable).directDatabase).toBe('postgres://other/shop');
  const elsewhere = { file: 'observers.yaml', env: variable, database: 'postgres://elsewhere/shop' };
  expect(parseConfig(`${yaml}# ${'$'}{UNSET}\n`, elsewhere).directDatabase).toBeNull();
  expect(messagesOf('version: 1\ndatabase: postgres://p/s\ndirect_database: server\n')).toEqual([
    'observers.yaml:3:18  `direct_database` is not a postgres:// URL',
  ]);
});
