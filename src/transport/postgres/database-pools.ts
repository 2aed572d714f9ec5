import type pg from 'pg';
import type { Config } from '../../domain/rules.ts';
import type { Telemetry } from '../../domain/telemetry.ts';
import { awaitDatabase } from './await-database.ts';
import { createPool } from './connection.ts';
import { createPooledPool, requireOwnSessions, requireSameDatabase } from './pooler.ts';
import type { Wires } from './wires.ts';

/** Heartbeat, settling, large events, housekeeping, status. */
const workerConnections = 4;
const claimConnections = 2;
/** Applying holds its lock on one and works on the other. */
const directConnections = 2;

/** The connections of an engine that come and go; listening, routing and recording have their own. */
export class DatabasePools {
  /** Commits wait for the disk. */
  readonly durable: pg.Pool;
  /** `synchronous_commit=off`. */
  readonly claims: pg.Pool;
  /** Each connection has a session of its own. */
  readonly direct: pg.Pool;
  /** What `direct` leads to, for who needs a connection of his own. */
  readonly directUrl: string;
  readonly #config: Config;

  constructor(config: Config, wires: Wires) {
    const { database, directDatabase } = config;
    const create = directDatabase === null ? createPool : createPooledPool;
    this.#config = config;
    this.durable = create(database, workerConnections, 'on', wires);
    this.claims = create(database, claimConnections, 'off', wires);
    this.direct = directDatabase === null ? this.durable : createPool(directDatabase, directConnections, 'on', wires);
    this.directUrl = directDatabase ?? database;
  }

  get all(): readonly pg.Pool[] {
    return [...new Set([this.durable, this.claims, this.direct])];
  }

  /**
   * Resolves when the database answers, or when `stopped`.
   * @throws UserError when waiting would not help: wrong login, no sessions of our own, two different databases
   */
  async ready(telemetry: Telemetry, stopped: () => boolean): Promise<void> {
    await awaitDatabase(this.direct, this.directUrl, telemetry, stopped);
    if (this.direct !== this.durable) await awaitDatabase(this.durable, this.#config.database, telemetry, stopped);
    if (stopped()) return;
    await requireOwnSessions(this.direct);
    if (this.direct !== this.durable) await requireSameDatabase(this.durable, this.direct);
  }
}
