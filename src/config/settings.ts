import { resolve } from 'node:path';
import type { Settings, TenantQuota, TenantQuotas } from '../domain/rules.ts';
import type { Field } from './field.ts';
import { FrozenMap } from './frozen-map.ts';
import { readHeaders } from './headers.ts';
import { listed } from './suggestions.ts';
import { readUrl } from './urls.ts';

/** A key of `settings`, or the variable that replaces it. */
type SettingAt = (...path: readonly string[]) => Field;
type Environment = Readonly<Record<string, string | undefined>>;

const second = 1_000;
const hour = 3_600 * second;
const day = 24 * hour;

/** Settings of the file, each replaced by the environment variable PG_OBSERVERS_<PATH> when that is set. */
export function readSettings(field: Field, env: Environment): Settings {
  const setting: SettingAt = (...path) => {
    const place = path.reduce((parent, key) => parent.get(key), field);
    const variable = `PG_OBSERVERS_${path.join('_').toUpperCase()}`;
    const value = Object.hasOwn(env, variable) ? env[variable] : undefined;
    return value === undefined || value === '' ? place : place.replacedBy(variable, value);
  };
  return Object.freeze({
    listen: readListen(setting('listen')),
    pollIntervalMs: setting('poll_interval').duration(10, hour) ?? second,
    instanceTimeoutMs: setting('instance_timeout').duration(100, hour) ?? 10 * second,
    retention: readRetention(setting),
    environment: readEnvironment(setting('environment')),
    opentelemetry: readTracing(setting),
    maxDepth: readMaxDepth(setting('max_depth')),
    attempts: readAttempts(setting('attempts')),
    tenants: readTenants(setting),
  });
}

function readRetention(setting: SettingAt): Settings['retention'] {
  const directory = setting('retention', 'archive', 'directory');
  const path = directory.text();
  return Object.freeze({
    eventsMs: setting('retention', 'events').duration(second, 3_650 * day) ?? 7 * day,
    attemptsMs: setting('retention', 'attempts').duration(second, 3_650 * day) ?? 7 * day,
    maxBytes: setting('retention', 'max_size').size(1_000_000, 1_000_000_000_000_000) ?? null,
    // Beside the file, as everywhere: the program may be started from anywhere.
    archive: path === undefined ? null : Object.freeze({ directory: resolve(directory.draft.directory, path) }),
  });
}

/** Overrides have no environment variables: their names are the tenants'. */
function readTenants(setting: (...path: readonly string[]) => Field): TenantQuotas {
  const common: TenantQuota = Object.freeze({
    maxPending: readWhole(setting('tenants', 'max_pending'), mostPending) ?? null,
    maxRate: setting('tenants', 'max_rate').rate() ?? null,
  });
  const named = setting('tenants', 'overrides')
    .entries()
    .map(([tenant, field]): [string, TenantQuota] => [
      tenant,
      Object.freeze({
        maxPending: field.get('max_pending').number() ?? common.maxPending,
        maxRate: field.get('max_rate').rate() ?? common.maxRate,
      }),
    ]);
  return Object.freeze({ common, named: new FrozenMap(named) });
}

const mostPending = 1_000_000_000;

/** An environment variable holds text. */
function readWhole(field: Field, most: number): number | undefined {
  const text = field.text();
  if (text === undefined) return field.number();
  const number = /^\d{1,12}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= most) return number;
  field.refuse(`\`${field.label}\` must be a whole number from 1 to ${most}`);
  return undefined;
}

const listenHint = 'write 127.0.0.1:7420, [::1]:7420 or off';

function readListen(field: Field): Settings['listen'] {
  const text = field.text() ?? '127.0.0.1:7420';
  if (text === 'off') return null;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text);
  const [host, port] = [match?.[1] ?? match?.[2], Number(match?.[3])];
  if (host !== undefined && port <= 65_535) return Object.freeze({ host, port });
  field.refuse(`\`${field.label}\` is not host:port`, listenHint);
  return null;
}

function readTracing(setting: SettingAt): Settings['opentelemetry'] {
  const endpoint = setting('opentelemetry', 'endpoint');
  if (!endpoint.present) return null;
  readUrl(endpoint, 'http');
  const headers = readHeaders(setting('opentelemetry').get('headers')).map(([name, value]) => {
    const text = value.text() ?? '';
    value.secret(text);
    return [name, text];
  });
  return Object.freeze({
    endpoint: endpoint.text() ?? '',
    headers: Object.freeze(Object.fromEntries(headers)),
    serviceName: setting('opentelemetry', 'service_name').text() ?? 'pg-observers',
    sample: readShare(setting('opentelemetry', 'sample')) ?? 1,
  });
}

/** A text when a variable holds it. */
function readShare(field: Field): number | undefined {
  if (!field.present) return undefined;
  const share = field.number() ?? Number(field.text());
  if (share >= 0 && share <= 1) return share;
  field.refuse(`\`${field.label}\` must be a number from 0 to 1`);
  return undefined;
}

function readEnvironment(field: Field): string | null {
  const text = field.text() ?? null;
  if (text === null || /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/.test(text)) return text;
  field.refuse(`\`${field.label}\` is not a name`, 'letters, digits, `_`, `-` and `.`, at most 63');
  return null;
}

const deepest = 100;

/** From the environment it is text. */
function readMaxDepth(field: Field): number {
  if (!field.present) return 8;
  const depth = field.number() ?? Number(field.text());
  if (Number.isInteger(depth) && depth >= 1 && depth <= deepest) return depth;
  field.refuse(`\`${field.label}\` must be a whole number from 1 to ${deepest}`);
  return 8;
}

const choices = ['all', 'failures', 'none'] as const;

function readAttempts(field: Field): Settings['attempts'] {
  if (!field.present) return 'all';
  const choice = choices.find((candidate) => candidate === field.text());
  if (choice === undefined) field.refuse(`\`${field.label}\` must be ${listed(choices)}`);
  return choice ?? 'all';
}

/** The database asked for, or that of the file, or DATABASE_URL. */
export function readDatabase(root: Field, env: Environment, other: string | undefined): string {
  const written = root.get('database');
  if (other !== undefined) return checkedDatabase(written.replacedBy('database', other));
  // A `database` that was refused has a problem of its own, and so has a file that is no mapping.
  if (written.written !== undefined || root.entries().length === 0) return checkedDatabase(written);
  const fallback = Object.hasOwn(env, 'DATABASE_URL') ? env.DATABASE_URL : undefined;
  if (fallback !== undefined && fallback !== '') return checkedDatabase(written.replacedBy('DATABASE_URL', fallback));
  root.refuseKey(
    'there is no database',
    'set the environment variable DATABASE_URL, or write `database: postgres://…`',
  );
  return '';
}

/**
 * The way past a pooler, for what needs a session of its own; the environment wins. It belongs to the database of the
 * file: with another one, nobody has said what leads there.
 */
export function readDirectDatabase(root: Field, env: Environment, other: string | undefined): string | null {
  if (other !== undefined) return null;
  const variable = 'PG_OBSERVERS_DIRECT_DATABASE';
  const value = Object.hasOwn(env, variable) ? env[variable] : undefined;
  const written = root.get('direct_database');
  const field = value === undefined || value === '' ? written : written.replacedBy(variable, value);
  return checkedDatabase(field) || null;
}

function checkedDatabase(field: Field): string {
  readUrl(field, 'postgres');
  return field.text() ?? '';
}
