import { describe, expect, test } from 'vitest';
import { judgeDestination } from '../../src/doctor/checks/destination.ts';
import { judgeDatabase } from '../../src/doctor/database.ts';
import type { DatabaseFacts } from '../../src/doctor/facts.ts';
import type { Destination } from '../../src/domain/rules.ts';

const server = {
  version: '18.4',
  version_number: 180_004,
  standby: false,
  wal_level: 'minimal',
  max_connections: 100,
  reserved_connections: 3,
  connections: 20,
  queue_usage: 0,
  now_ms: Date.parse('2026-11-20T12:00:00Z'),
  round_trip_ms: 0.4,
  clock_ahead_ms: -3,
};
const rights = {
  role: 'sidecar',
  create_in_database: true,
  installed: true,
  owns_schema: true,
  owns_log: true,
  missing_to_run: [],
  no_trigger_on: [],
};
const instance = { host: 'a', pid: 7, rules_version: 'v1', silent_ms: 500, routing: true };
const status = {
  instances: [instance],
  checkpoint: { lag_events: 0, lag_ms: null },
  held_destinations: [],
  dead_letters: 0,
};
const checkpoint = { same_cluster: true, environment: null, held_back_by: [] };
const config = { version: 'v1', directDatabase: null, settings: { environment: 'production' } };
const healthy = {
  config,
  server,
  rights,
  plan: [],
  ownSessions: true,
  sameDatabase: null,
  hears: true,
  checkpoint,
  usedDefaults: [],
  status,
};

/** Only what the checks look at is there. */
const judge = (facts: object) => judgeDatabase({ ...healthy, ...facts } as unknown as DatabaseFacts);
const levelOf = (check: string, facts: object) => judge(facts).find((finding) => finding.check === check)?.level;

test('a healthy installation has nothing but ok, and no remedies', () => {
  const findings = judge({});
  expect(findings.filter(({ level, remedy }) => level !== 'ok' || remedy !== null)).toEqual([]);
  expect(new Set(findings.map(({ area }) => area))).toEqual(new Set(['database', 'installation', 'running']));
});

const since = (ms: number) => new Date(server.now_ms - ms).toISOString();
const step = { kind: 'enable', subject: 'trigger x on public.orders', reason: 'was disabled', sql: '', locks: null };
const open = { pid: 9, gid: null, application: 'psql', state: 'idle in transaction', since: since(90_000) };

test.each([
  ['server-version', 'problem', { server: { ...server, version: '13.2', version_number: 130_002 } }, 'too old'],
  ['server-version', 'warning', { server: { ...server, version: '19.0', version_number: 190_000 } }, 'newer than'],
  ['primary', 'problem', { server: { ...server, standby: true } }, 'standby'],
  ['round-trip', 'warning', { server: { ...server, round_trip_ms: 80 } }, '80.0 ms'],
  ['connections', 'warning', { server: { ...server, connections: 92 } }, '92 of 100'],
  ['connections', 'problem', { server: { ...server, connections: 97 } }, '97 of 100'],
  ['notification-queue', 'warning', { server: { ...server, queue_usage: 0.2 } }, '20.0 % full'],
  ['notification-queue', 'problem', { server: { ...server, queue_usage: 0.9 } }, '90.0 % full'],
  ['clock', 'warning', { server: { ...server, clock_ahead_ms: -5_000 } }, '5.0 s apart'],
  ['sessions', 'problem', { ownSessions: { failed: 'a pooler' } }, 'a pooler'],
  ['same-database', 'problem', { sameDatabase: { failed: 'they differ' } }, 'they differ'],
  ['notifications', 'warning', { hears: false }, 'do not arrive'],
  ['migrations', 'problem', { plan: [{ ...step, kind: 'migrate' }] }, '1 migrations are pending'],
  ['migrations', 'problem', { plan: { failed: 'by a newer pg-observers' } }, 'newer'],
  ['triggers', 'problem', { plan: [step] }, 'trigger x on public.orders: was disabled'],
  [
    'rights',
    'problem',
    { rights: { ...rights, installed: false, create_in_database: false }, plan: [step] },
    'may not create a schema',
  ],
  [
    'rights',
    'problem',
    { rights: { ...rights, no_trigger_on: ['public.orders'] }, plan: [step] },
    'triggers on public.orders',
  ],
  ['rights', 'problem', { rights: { ...rights, owns_schema: false }, plan: [step] }, 'does not own the schema'],
  ['rights', 'problem', { rights: { ...rights, missing_to_run: ['select on observers.events'] } }, 'lacks select on'],
  ['retention-rights', 'warning', { rights: { ...rights, owns_log: false } }, 'partitions'],
  [
    'default-partitions',
    'warning',
    { usedDefaults: [{ name: 'observers.events_default', oldest: 'Monday' }] },
    'since Monday',
  ],
  ['checkpoint', 'problem', { checkpoint: { ...checkpoint, same_cluster: false } }, 'another cluster'],
  ['checkpoint', 'problem', { checkpoint: { ...checkpoint, environment: 'staging' } }, 'environment staging'],
  ['instances', 'warning', { status: { ...status, instances: [] } }, 'no instance is running'],
  [
    'instances',
    'warning',
    { status: { ...status, instances: [{ ...instance, silent_ms: 60_000 }] } },
    'heard of for 60 s',
  ],
  [
    'instances',
    'warning',
    { status: { ...status, instances: [{ ...instance, routing: false }] } },
    'no instance routes',
  ],
  ['rules', 'warning', { config: { ...config, version: 'v2' } }, '1 of 1 instances run other rules'],
  [
    'routing',
    'warning',
    { status: { ...status, checkpoint: { lag_events: 5, lag_ms: 300_000 } } },
    '5 events behind, the oldest from 5 min ago',
  ],
  [
    'long-transactions',
    'warning',
    { checkpoint: { ...checkpoint, held_back_by: [open] } },
    'process 9 (psql, idle in transaction)',
  ],
  [
    'long-transactions',
    'warning',
    { checkpoint: { ...checkpoint, held_back_by: [{ ...open, pid: null, gid: 'g' }] } },
    'prepared transaction g',
  ],
  [
    'held',
    'warning',
    { status: { ...status, held_destinations: [{ destination: 'crm', reason: 'gone' }] } },
    'crm is sent nothing: gone',
  ],
  ['dead-letters', 'warning', { status: { ...status, dead_letters: 2 } }, '2 dead letters'],
])('%s is a %s', (check, level, facts, words) => {
  const finding = judge(facts).find((one) => one.check === check);
  expect(finding).toMatchObject({
    level,
    message: expect.stringContaining(words),
    remedy: expect.stringMatching(/\w{3}/),
  });
});

test('what is usual is no warning', () => {
  expect(
    levelOf('long-transactions', { checkpoint: { ...checkpoint, held_back_by: [{ ...open, since: since(5_000) }] } }),
  ).toBe('ok');
  expect(levelOf('routing', { status: { ...status, checkpoint: { lag_events: 5, lag_ms: 300 } } })).toBe('ok');
  expect(levelOf('notifications', { hears: { failed: 'no connection' } })).toBe('warning');
  // Before the first apply the missing triggers are no news.
  const before = {
    plan: [
      { ...step, kind: 'migrate' },
      { ...step, kind: 'create' },
    ],
    rights: { ...rights, installed: false },
  };
  expect(levelOf('triggers', before)).toBeUndefined();
  expect(judge(before).find(({ check }) => check === 'migrations')?.message).toBe('our tables are not there yet');
});

describe('a destination', () => {
  const endpoint = { host: 'example.com', port: 443, tls: true, exposed: false };
  const reach = {
    addresses: ['192.0.2.1'],
    tookMs: 12,
    certificateEnds: server.now_ms + 90 * 86_400_000,
    failure: null,
  };
  const facts = { destination: { kind: 'webhook' } as Destination, endpoint, reach, talk: null, now: server.now_ms };
  test.each([
    ['ok', {}, 'example.com:443 answers in 12 ms, its certificate ends in 90 days'],
    ['warning', { reach: { ...reach, certificateEnds: server.now_ms + 3.5 * 86_400_000 } }, 'ends in 3 days'],
    [
      'warning',
      { endpoint: { ...endpoint, tls: false, exposed: true }, reach: { ...reach, certificateEnds: null } },
      'without TLS',
    ],
    [
      'problem',
      { reach: { ...reach, failure: { at: 'dns', reason: 'no such name' } } },
      'example.com:443: no such name',
    ],
    ['problem', { talk: { failure: 'it refuses the login (535)', said: null } }, 'refuses the login'],
    ['ok', { endpoint: null, reach: null }, 'comes from events'],
  ])('is %s', (level, more, words) => {
    const verdict = judgeDestination({ ...facts, ...more } as typeof facts);
    expect(verdict).toMatchObject({ level, message: expect.stringContaining(words) });
    expect(verdict.remedy === null).toBe(level === 'ok');
  });
});
