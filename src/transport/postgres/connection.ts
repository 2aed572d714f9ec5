import pg from 'pg';
import { readOnly, sqlState } from './failures.ts';
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
