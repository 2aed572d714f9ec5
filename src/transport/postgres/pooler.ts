/**
 * What it takes to work through a pooler in transaction mode, such as PgBouncer, where each transaction may run in
 * another session.
 *
 * There a session can't be told anything that lasts: PgBouncer refuses `options` at start-up, `set` would be for whoever
 * comes next, and before 1.21 a named statement is prepared in a session that the next one doesn't know. So every
 * statement is a transaction of its own that begins with its settings, and has no name. That is two round trips more
 * for each; claims and outcomes go in batches, so it is no matter.
 *
 * Not the few settings that PgBouncer itself keeps apart (time zone, date style): others keep others, and a wrong time
 * zone would make retention drop the wrong day.
 */

import pg from 'pg';
import { UserError } from '../../domain/errors.ts';
import {
  connectionConfig,
  guardPool,
  type SynchronousCommit,
  statementSettings,
  withTransaction,
} from './connection.ts';
import { WatchedClient } from './watched-client.ts';
import type { Wires } from './wires.ts';

/** Whatever each transaction of a client begins with takes the place of its `begin`; statements lose their names. */
function clientFor(synchronousCommit: SynchronousCommit): typeof pg.Client {
  const begin = [
    'begin',
    ...statementSettings(synchronousCommit).map(([name, value]) => `set local ${name} = ${value}`),
  ];
  const beginning = begin.join('; ');
  return class TransactionClient extends WatchedClient {
    /** What a pooler tells at login is no process of the server. */
    override get session(): null {
      return null;
    }

    // biome-ignore lint/suspicious/noExplicitAny: node-postgres declares a dozen overloads
    override query(statement: any, ...rest: any[]): any {
      const own = statement === 'begin' ? beginning : withoutName(statement);
      return Reflect.apply(super.query, this, [own, ...rest]);
    }
  };
}

function withoutName(statement: unknown): unknown {
  if (statement === null || typeof statement !== 'object' || !('name' in statement)) return statement;
  return { ...statement, name: undefined };
}

class TransactionPool extends pg.Pool {
  // biome-ignore lint/suspicious/noExplicitAny: node-postgres declares a dozen overloads
  override query(...statement: any[]): any {
    return withTransaction(this, (client) => Reflect.apply(client.query, client, statement));
  }
}

/** A pool whose connections may lead to a pooler in transaction mode. Statements are promises; no callbacks, no streams. */
export function createPooledPool(
  url: string,
  size: number,
  synchronousCommit: SynchronousCommit = 'on',
  wires?: Wires,
): pg.Pool {
  const { options: _, ...config } = connectionConfig(url, 'worker', synchronousCommit, wires);
  const Client = clientFor(synchronousCommit);
  return guardPool(new TransactionPool({ ...config, Client, max: size, idleTimeoutMillis: 30_000 }));
}

/** In how many looks two connections must be seen apart before they count as two sessions. */
const looks = 3;

/**
 * Session locks and LISTEN need sessions of their own: an instance would share the place of the router with whoever comes
 * next on that session, and notifications would go nowhere.
 *
 * @param pool of two connections at least
 * @throws UserError when its connections share sessions
 */
export async function requireOwnSessions(pool: pg.Pool): Promise<void> {
  const one: pg.PoolClient & Login = await pool.connect();
  try {
    // The server tells its process at login, and a pooler says something of its own.
    if ((await processOf(one)) === one.processID) return;
    const other = await pool.connect();
    try {
      for (let look = 0; look < looks; look++) if (await shareSessions(one, other)) throw sharedSessions();
    } finally {
      other.release();
    }
  } finally {
    one.release();
  }
}

/** node-postgres has it, and its types don't. */
interface Login {
  readonly processID?: number | null;
}

/** While one is in a transaction its session is taken: the other one had the same before, or gets another one now. */
async function shareSessions(one: pg.PoolClient, other: pg.PoolClient): Promise<boolean> {
  const before = await processOf(one);
  await other.query('begin');
  try {
    const taken = await processOf(other);
    return taken === before || (await processOf(one)) !== before;
  } finally {
    await other.query('rollback');
  }
}

async function processOf(client: pg.PoolClient): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return rows[0]?.pid;
}

const sharedSessions = () =>
  new UserError(
    "Between here and PostgreSQL is a pooler in transaction mode: session locks don't hold there, and notifications never arrive. " +
      'Give `direct_database:` (or PG_OBSERVERS_DIRECT_DATABASE) a URL that leads to the server itself, or to a pooler in session mode; `database:` may stay as it is.',
    2,
    { code: 'PGO-POOLER' },
  );

interface Place {
  readonly cluster: string;
  readonly database: string;
  readonly standby: boolean;
}

/**
 * The tables that the stages meet in must be the same ones, whichever way they are reached.
 * @throws UserError when the two lead to different databases
 */
export async function requireSameDatabase(pooled: pg.Pool, direct: pg.Pool): Promise<void> {
  const [there, here] = await Promise.all([placeOf(pooled), placeOf(direct)]);
  if (there.cluster !== here.cluster) throw different('are in different clusters');
  if (there.database !== here.database)
    throw different(`are different databases, ${there.database} and ${here.database}`);
  if (there.standby !== here.standby) throw different('lead to a primary and to a standby');
}

const different = (how: string) =>
  new UserError(`\`database:\` and \`direct_database:\` ${how}: they must be two ways to one database.`, 2, {
    code: 'PGO-TWO-DATABASES',
  });

async function placeOf(pool: pg.Pool): Promise<Place> {
  const { rows } = await pool.query<Place>(
    `select (select system_identifier from pg_control_system())::text as cluster, current_database() as database,
            pg_is_in_recovery() as standby`,
  );
  return rows[0] ?? { cluster: '', database: '', standby: false };
}
