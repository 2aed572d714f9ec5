/**
 * The statements of `sql` actions. Each is one transaction on a connection of its own: settings, the user's statement,
 * and, in the observed database, the settlement of its delivery, last and briefly: a statement that waits for a lock
 * holds none of the queue's.
 *
 * A statement can't end that transaction: the extended protocol takes one at a time, and a savepoint that is gone tells
 * when one got away with it all the same.
 */

import pg from 'pg';
import type { SqlDatabase, SqlResult, SqlStatement } from '../../domain/sql.ts';
import type { Settlement } from '../contract.ts';
import { askBriefly } from './brief-session.ts';
import { guardPool } from './connection.ts';
import { describeError, redactUrl, sqlState } from './failures.ts';
import { settleWithin } from './settlement.ts';
import { WatchedClient } from './watched-client.ts';
import type { Wires } from './wires.ts';

export interface StatementsOptions {
  /** At most, at the same time. */
  readonly connections: number;
  /** For the history of attempts: whose they are. */
  readonly instance: () => string;
  /** Of the observed database, which is watched. */
  readonly wires?: Wires;
}

/** The server gets the deadline, too. One that passed a moment early needs no one to cancel it. Milliseconds. */
const soonMs = 50;
/** A commit under way is not cut off: whether it happened would be anybody's guess. Milliseconds. */
const commitMs = 5_000;
/** For telling the server. Milliseconds. */
const cancelWithinMs = 2_000;

export function openStatements(url: string, options: StatementsOptions): SqlDatabase {
  return new Statements(url, options);
}

type SettlementOf = (tag: string) => Settlement;

class Statements implements SqlDatabase {
  readonly place: string;
  readonly #options: StatementsOptions;
  readonly #config: pg.ClientConfig;
  readonly #pool: pg.Pool;
  #ended: Promise<void> | null = null;

  constructor(url: string, options: StatementsOptions) {
    const { connections, wires } = options;
    this.place = redactUrl(url).replace('PostgreSQL at ', '');
    this.#options = options;
    // Nothing of our own settings: the statement is the user's, and means what it means in psql.
    this.#config = {
      connectionString: url,
      application_name: 'pg-observers sql',
      keepAlive: true,
      connectionTimeoutMillis: 10_000,
    };
    const watched = wires === undefined ? {} : { wires, Client: WatchedClient };
    this.#pool = guardPool(
      new pg.Pool({ ...this.#config, ...watched, max: connections, idleTimeoutMillis: 10_000, allowExitOnIdle: true }),
    );
  }

  async run(
    statement: SqlStatement,
    cut: AbortSignal,
    timeoutMs: number,
    settlement: ((tag: string) => unknown) | null,
  ): Promise<SqlResult> {
    const until = performance.now() + timeoutMs;
    try {
      const client = await this.#connect(cut);
      const transaction = new StatementTransaction(client, this.#options.instance);
      const endCut = whenCut(cut, () => this.#cutOff(transaction, until));
      try {
        return await transaction.run(statement, until, settlement as SettlementOf | null);
      } finally {
        endCut();
        client.release(transaction.broken);
      }
    } catch (error) {
      return failure(error);
    }
  }

  close(): Promise<void> {
    this.#ended ??= this.#pool.end();
    return this.#ended;
  }

  /** @throws Error when it was cut off before there was a connection; that one goes back as it comes */
  async #connect(cut: AbortSignal): Promise<pg.PoolClient> {
    const connecting = this.#pool.connect();
    let endCut = () => {};
    const late = new Promise<never>((_, reject) => {
      endCut = whenCut(cut, () => reject(new Error('timeout expired before there was a connection')));
    });
    try {
      return await Promise.race([connecting, late]);
    } catch (error) {
      void connecting.then(
        (client) => client.release(),
        () => {},
      );
      throw error;
    } finally {
      endCut();
    }
  }

  /** The attempt is over; the server is told when it would not find out by itself. */
  #cutOff(transaction: StatementTransaction, until: number): void {
    if (transaction.committing) {
      setTimeout(() => transaction.abandon(), commitMs).unref();
      return;
    }
    const { process } = transaction;
    if (process !== null && performance.now() < until - soonMs) void this.#cancel(process);
    transaction.abandon();
  }

  /** Never rejects. A frozen server ends it by the timeout that it was given. */
  async #cancel(process: number): Promise<void> {
    const ask = (client: pg.Client) => client.query('select pg_cancel_backend($1)', [process]);
    await askBriefly(this.#config, cancelWithinMs, ask).catch(() => {});
  }
}

/** `observers.context`: what the event before said, and which one that was. */
const settings = `
select pg_backend_pid() as process,
       case when $1::text is not null then set_config('role', $1, true) end,
       set_config('statement_timeout', $2, true),
       set_config('observers.context',
         (case when jsonb_typeof($3::jsonb) = 'object' then $3::jsonb else '{}' end
           || jsonb_build_object('caused_by', $4::text, 'depth', $5::int))::text, true)`;

const begin = `begin; set local idle_in_transaction_session_timeout = 5000; savepoint pg_observers`;

/** From here on it is our transaction again. */
const takeBack = `
release savepoint pg_observers; reset role; set local statement_timeout = 0; set local search_path = pg_catalog, pg_temp;
set local timezone = 'UTC'; set local datestyle = 'ISO'; set local jit = off; set local enable_seqscan = off; set local synchronous_commit = on`;

/** One statement, from `begin` to `commit`. */
class StatementTransaction {
  readonly #client: pg.PoolClient;
  readonly #instance: () => string;
  #broken: Error | undefined;
  #process: number | null = null;
  #committing = false;

  constructor(client: pg.PoolClient, instance: () => string) {
    this.#client = client;
    this.#instance = instance;
  }

  /** Why the connection can't be used again. */
  get broken(): Error | undefined {
    return this.#broken;
  }

  /** The server's process, once it told. */
  get process(): number | null {
    return this.#process;
  }

  get committing(): boolean {
    return this.#committing;
  }

  /** Whatever waits on the connection fails at once; what was not committed is rolled back. */
  abandon(): void {
    this.#broken = new Error('timeout expired');
    const { connection } = this.#client as unknown as {
      readonly connection: { readonly stream: import('node:net').Socket };
    };
    connection.stream.destroy(new Error('connection terminated: the attempt was cut off'));
  }

  /** @throws what the database or the connection said; nothing is committed then, as far as anybody can know */
  async run(statement: SqlStatement, until: number, settlement: SettlementOf | null): Promise<SqlResult> {
    const began = performance.now();
    try {
      await this.#prepare(statement, until);
      const tag = await this.#execute(statement);
      await this.#takeBack();
      this.#committing = true;
      if (settlement !== null && !(await this.#settle(settlement(tag), began))) {
        await this.#client.query('rollback');
        return { kind: 'fenced' };
      }
      await this.#client.query('commit');
      return { kind: 'done', tag };
    } catch (error) {
      await this.#rollBack(error);
      throw error;
    }
  }

  async #prepare({ role, cause }: SqlStatement, until: number): Promise<void> {
    await this.#client.query(begin);
    const timeoutMs = Math.max(1, Math.round(until - performance.now()));
    const { rows } = await this.#client.query<{ process: number }>(settings, [
      role,
      String(timeoutMs),
      cause.context,
      cause.uid,
      cause.depth,
    ]);
    this.#process = rows[0]?.process ?? null;
  }

  /** By the extended protocol, also without parameters: it takes one statement and no more. */
  async #execute({ text, values }: SqlStatement): Promise<string> {
    const { command, rowCount } = await this.#client.query({
      text,
      values: [...values],
      queryMode: 'extended',
    } as pg.QueryConfig);
    return rowCount === null ? command : `${command} ${rowCount}`;
  }

  async #takeBack(): Promise<void> {
    try {
      await this.#client.query(takeBack);
    } catch (error) {
      const state = sqlState(error);
      if (state !== '25P01' && state !== '3B001') throw error;
      this.#broken = error as Error;
      throw new EndedTransaction();
    }
  }

  async #settle(settlement: Settlement, began: number): Promise<boolean> {
    const { startedAt } = settlement;
    // `now()` is when this transaction began, and the age of an attempt counts from there.
    const shifted = startedAt === null ? startedAt : startedAt + performance.now() - began;
    const settled = await settleWithin(this.#client, this.#instance(), { ...settlement, startedAt: shifted });
    return settled.has(settlement.delivery.id);
  }

  async #rollBack(error: unknown): Promise<void> {
    if (sqlState(error) === undefined && !(error instanceof EndedTransaction)) this.#broken ??= error as Error;
    if (this.#broken !== undefined) return;
    await this.#client.query('rollback').catch((failed: Error) => {
      this.#broken = failed;
    });
  }
}

/** By a way that nobody knows yet: `commit` is refused when the file is loaded, and PostgreSQL refuses it in functions. */
class EndedTransaction extends Error {
  constructor() {
    super('the statement ended the transaction it ran in: its effect stays, and its delivery was not settled with it');
  }
}

function failure(error: unknown): SqlResult {
  if (error instanceof EndedTransaction) return failed('2D000', error.message, null, error);
  const detail = error instanceof pg.DatabaseError ? [error.detail, error.hint].filter(Boolean).join('; ') : '';
  return failed(sqlState(error) ?? null, describeError(error), detail === '' ? null : detail, error);
}

const failed = (sqlState: string | null, message: string, detail: string | null, error: unknown): SqlResult => ({
  kind: 'failed',
  sqlState,
  message,
  detail,
  error,
});

/** @returns a function that ends it */
function whenCut(cut: AbortSignal, act: () => void): () => void {
  if (cut.aborted) act();
  else cut.addEventListener('abort', act, { once: true });
  return () => cut.removeEventListener('abort', act);
}
