import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import type { EmbeddedPostgres } from '../../src/embedded/embedded-postgres.ts';
import { startServer } from '../support/server.ts';

/** The run's own PostgreSQL, in a directory of its own, always on the same port. */
export class Cluster {
  /** Straight, as superuser. */
  readonly url: string;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #pool: pg.Pool;
  #own: EmbeddedPostgres | null;

  private constructor(url: string, settings: Readonly<Record<string, string>>, own: EmbeddedPostgres | null) {
    this.url = url;
    this.#settings = settings;
    this.#own = own;
    this.#pool = new pg.Pool({ connectionString: url, max: 3 });
    this.#pool.on('error', () => undefined);
  }

  /** @param directory made when it is missing; PostgreSQL's user must be able to enter it */
  static async start(directory: string, settings: Readonly<Record<string, string>> = {}): Promise<Cluster> {
    const all = { max_connections: '100', ...settings };
    const server = await startServer({ dataDir: directory, settings: all });
    return new Cluster(server.url, all, server);
  }

  /** Somebody else's server, which can't be stopped here. @param url of a superuser */
  static borrow(url: string): Cluster {
    return new Cluster(url, {}, null);
  }

  get directory(): string {
    return this.#server.dataDir;
  }

  get port(): number {
    return this.#server.port;
  }

  /** PostgreSQL's data directory. */
  get dataDirectory(): string {
    return join(this.directory, 'cluster');
  }

  /** What the server said, its end. */
  log(): string {
    return this.#server.log();
  }

  /** On a connection of the harness. */
  query<Row extends pg.QueryResultRow = Record<string, unknown>>(
    sql: string,
    values: readonly unknown[] = [],
  ): Promise<pg.QueryResult<Row>> {
    return this.#pool.query<Row>(sql, [...values]);
  }

  async postmasterPid(): Promise<number> {
    return Number((await readFile(join(this.dataDirectory, 'postmaster.pid'), 'utf8')).split('\n')[0]);
  }

  get #server(): EmbeddedPostgres {
    if (this.#own === null) throw new Error('this scenario needs a server of its own');
    return this.#own;
  }

  /** Resolves when it has ended. `immediate`: as if it crashed. */
  async stop(how: 'fast' | 'immediate' = 'fast'): Promise<void> {
    await this.#server.stop(how);
  }

  /** Again, on the same data and port; recovers by itself. After `stop`, or when it was killed. */
  async start(): Promise<void> {
    const { dataDir, port } = this.#server;
    await this.#server.stop('immediate').catch(() => undefined);
    this.#own = await startServer({ dataDir, port, settings: this.#settings });
  }

  async isUp(): Promise<boolean> {
    return this.query('select 1').then(
      () => true,
      () => false,
    );
  }

  /** The data stay. */
  async close(): Promise<void> {
    await this.#pool.end().catch(() => undefined);
    await this.#own?.stop('fast').catch(() => undefined);
  }
}
