import { readFileSync } from 'node:fs';
import pg from 'pg';
import { UserError } from '../../domain/errors.ts';
import { WatchedClient, type WatchedConfig } from './watched-client.ts';
import type { Wires } from './wires.ts';

/** Results that would lose digits as JavaScript numbers stay text (bigint, numeric); times stay text with microseconds. */
const textTypes: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text') => {
    const keepsText = [pg.types.builtins.TIMESTAMPTZ, pg.types.builtins.TIMESTAMP, pg.types.builtins.DATE];
    return keepsText.includes(oid) ? (value: string) => value : pg.types.getTypeParser(oid, format);
  }) as typeof pg.types.getTypeParser,
};

export type SynchronousCommit = 'on' | 'off';

/**
 * What every statement of ours runs under.
 *
 * - `synchronous_commit`: on by default, as what we say is done must survive a crash, whatever the role's setting is
 * - `jit=off`: compiling a statement that runs for a millisecond takes seventy
 * - `plan_cache_mode`, `enable_seqscan`: hot statements are prepared and planned once, maybe while the queue is empty, and
 *   that plan must still be right when it holds a million
 * - `idle_in_transaction_session_timeout`: a process that is frozen between two statements holds the locks of lanes, and
 *   everybody else's routing waits for those
 */
export function statementSettings(synchronousCommit: SynchronousCommit): readonly (readonly [string, string])[] {
  return [
    ['search_path', 'pg_catalog,pg_temp'],
    ['timezone', 'UTC'],
    ['datestyle', 'ISO'],
    ['jit', 'off'],
    ['plan_cache_mode', 'force_generic_plan'],
    ['enable_seqscan', 'off'],
    ['synchronous_commit', synchronousCommit],
    ['idle_in_transaction_session_timeout', '5000'],
  ];
}

/**
 * - `tcp_user_timeout`: the locks of a router whose host vanished go away in 10 s instead of hours
 */
const connectionSettings: readonly (readonly [string, string])[] = [
  ['tcp_user_timeout', '10000'],
  ['tcp_keepalives_idle', '5'],
  ['tcp_keepalives_interval', '2'],
  ['tcp_keepalives_count', '3'],
];

/**
 * Connection settings for every connection with a session of its own. The session is told in the start-up packet, so that
 * a pooled or reconnected session never runs without them.
 */
export function connectionConfig(
  url: string,
  role: string,
  synchronousCommit: SynchronousCommit = 'on',
  wires?: Wires,
): WatchedConfig {
  const settings = [...statementSettings(synchronousCommit), ...connectionSettings];
  return {
    ...(wires !== undefined && { wires, stream: wires.open }),
    connectionString: url,
    application_name: `pg-observers ${role}`,
    keepAlive: true,
    connectionTimeoutMillis: 5_000,
    options: settings.map(([name, value]) => `-c ${name}=${value}`).join(' '),
    types: textTypes,
  };
}

/**
 * For a session that holds a place which only one instance may have. The server gives up on a host that vanished after two
 * seconds: taken for dead too early, a session costs a reconnection, and its place is fenced anyway.
 *
 * @param idleMs a process that is frozen, whose kernel answers for it, loses the session after so long; 0: never
 */
export function placeHolding(config: pg.ClientConfig, idleMs: number): pg.ClientConfig {
  const settings = [
    `idle_session_timeout=${idleMs}`,
    'tcp_user_timeout=2000',
    'tcp_keepalives_idle=1',
    'tcp_keepalives_interval=1',
    'tcp_keepalives_count=2',
  ];
  return { ...config, options: [config.options, ...settings.map((setting) => `-c ${setting}`)].join(' ') };
}

export function createPool(
  url: string,
  size: number,
  synchronousCommit: SynchronousCommit = 'on',
  wires?: Wires,
): pg.Pool {
  const config = connectionConfig(url, 'worker', synchronousCommit, wires);
  return guardPool(new pg.Pool({ ...config, Client: WatchedClient, max: size, idleTimeoutMillis: 30_000 }));
}

export function guardPool(pool: pg.Pool): pg.Pool {
  // An idle connection that breaks is replaced on next use; without a listener it would end the process.
  pool.on('error', () => {});
  // The pool takes its own listener off a connection that is in use: one that breaks between two statements of a
  // transaction would end the process too. The next statement reports it.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

const readOnly = '25006';

/** At start a mistake; while running, a failover that is not over yet. */
export class StandbyError extends UserError {
  constructor() {
    super('This server is a standby: point `database:` at the primary.', 1, { code: 'PGO-STANDBY' });
  }
}

export async function withTransaction<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query('begin');
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((failure: Error) => {
      broken = failure;
    });
    // Read-only it may stay for as long as it lives: a new one may find another server, or other settings.
    if (sqlState(error) === readOnly) broken ??= error as Error;
    throw error;
  } finally {
    client.release(broken);
  }
}

/** SQLSTATE of a database error, or undefined for anything else. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

/**
 * True when waiting may help: the server is away, starting, stopping, out of connections, read-only (a failover in
 * progress), out of disk, or killed our session.
 */
export function isTransient(error: unknown): boolean {
  const state = sqlState(error);
  if (state === undefined) return error instanceof StandbyError || isNetworkError(error);
  if (refusesSettings(error)) return false;
  return /^(08|53|57P|40|55P03)/.test(state) || state === readOnly || state === '57014' || state === '58030';
}

function isNetworkError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? String(error.code) : '';
  if (/^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ENOENT|EACCES)/.test(code)) return true;
  if (error instanceof AggregateError) return error.errors.some(isNetworkError);
  return /connection (terminated|ended|error)|timeout exceeded|timeout expired|not queryable|client was closed/i.test(
    error.message,
  );
}

/** PgBouncer, to what `connectionConfig` asks for. */
function refusesSettings(error: unknown): boolean {
  return sqlState(error) === '08P01' && /unsupported startup parameter/i.test(describeError(error));
}

/** A connection error as a person needs it: which server, what it said, what to do. Never the password. */
export function unreachable(url: string, error: unknown): UserError {
  const reason = describeError(error);
  const state = sqlState(error);
  const where = redactUrl(url);
  if (state === '28P01' || state === '28000') {
    return new UserError(`${where} refuses the login: ${reason}. Check user and password in \`database:\`.`, 3, {
      cause: error,
      code: 'PGO-LOGIN',
    });
  }
  if (refusesSettings(error)) {
    return new UserError(
      `${where} is a pooler that refuses the settings of a session: ${reason}. Give \`direct_database:\` (or PG_OBSERVERS_DIRECT_DATABASE) a URL that leads to the server itself; ` +
        '`database:` may then stay as it is. In session mode, PgBouncer also does with `ignore_startup_parameters = options`.',
      2,
      { cause: error, code: 'PGO-POOLER' },
    );
  }
  if (state === '3D000')
    return new UserError(`${where}: ${reason}. Create it, or correct \`database:\`.`, 3, {
      cause: error,
      code: 'PGO-NO-DATABASE',
    });
  return new UserError(`${where} is not reachable: ${reason}. Is the server running, and is \`database:\` right?`, 3, {
    cause: error,
  });
}

/** `AggregateError` (localhost over IPv4 and IPv6) has an empty message of its own. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return describeError(error.errors[0]);
  return error instanceof Error ? error.message || error.name : String(error);
}

/** host:port/database without user and password. */
export function redactUrl(url: string): string {
  try {
    const parsed = new URL(url);
    return `PostgreSQL at ${parsed.hostname || parsed.searchParams.get('host') || 'localhost'}:${parsed.port || '5432'}${parsed.pathname}`;
  } catch {
    return 'PostgreSQL';
  }
}

export const programVersion: string = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
).version;
