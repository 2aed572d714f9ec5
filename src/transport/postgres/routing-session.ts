/**
 * Reads the log without gaps and moves the checkpoint.
 *
 * `id` order is not commit order: a transaction that took id 7 can commit after id 9 was read, and `id > last` would
 * never see it. Waiting for `xid < pg_snapshot_xmin(…)` sees it, but lets one long transaction hold up everybody. So the
 * checkpoint is a snapshot, as in PgQ: what is visible in the target snapshot and not in the checkpointed one is new.
 * Within such a delta, events are paged by id: for one row, id order is causal order, and xid order is not.
 *
 * Rules that experiments forced:
 * - the target is taken in a statement that writes nothing, before the commit gets its xid
 * - compare-and-swap on `version` decides between two routers; the advisory lock only saves them the work
 * - nothing is written for an empty delta; the session remembers how far it looked, so that rows of a transaction that is
 *   still open, or rolled back, are not read at every look
 * - primary only: a standby's snapshot lists no running transactions
 */

import type pg from 'pg';
import type { EventRecord } from '../../domain/event.ts';
import type { ClaimedDelivery, Decisions, Handover, ReplayRequest, RoutingSession } from '../contract.ts';
import { type Checkpoint, readCheckpoint } from './checkpoint.ts';
import { connectionConfig } from './connection.ts';
import { type EventRow, toEventRecord } from './event-row.ts';
import { type HandedOver, toClaims } from './handover.ts';
import { lockClass, locks } from './locks.ts';
import { commitQuery, decisionColumns, deltaQuery, replayQuery, replaysQuery, sliceQuery } from './routing-sql.ts';
import { WatchedClient } from './watched-client.ts';
import type { Wires } from './wires.ts';

export interface RoutingOptions {
  /** settings.environment */
  readonly environment?: string | null;
  /**
   * A session that asks nothing for so long is ended by the server: a process that is frozen would otherwise keep the
   * place of the router for as long as its kernel answers. Milliseconds, more than twice the poll interval; 0: never.
   */
  readonly idleTimeoutMs?: number;
  readonly pages?: Partial<PageSizes>;
  readonly wires?: Wires;
  /** Of the operating system; the session carries it, so that others can end it when the process is silent. */
  readonly process?: string;
}

export interface PageSizes {
  /** Ids fetched at once: paging a delta of a million by a thousand would sort it a thousand times. */
  readonly idsPerDelta: number;
  /** A delta of so few brings its events along: a round trip less where latency counts. */
  readonly eventsPerDelta: number;
  /** Events decided and committed at once. */
  readonly eventsPerSlice: number;
  /** Bytes of a slice, roughly, so that 1,000 rows of 10 MB don't meet in memory. */
  readonly bytesPerSlice: number;
}

const defaultPages: PageSizes = {
  idsPerDelta: 100_000,
  eventsPerDelta: 100,
  eventsPerSlice: 1_000,
  bytesPerSlice: 32 * 1024 * 1024,
};

interface Pending {
  readonly target: string;
  /** All ids of the delta that are not committed yet, in order; `more`: the delta has others behind them. */
  readonly ids: readonly EventKey[];
  readonly more: boolean;
  /** A crash of the server would not lose its events. */
  readonly onDisk: boolean;
}

interface EventKey {
  readonly id: string;
  readonly at: string;
}

/**
 * Opens a routing session, or returns null when another instance routes.
 * @throws UserError when the database is not the one the checkpoint was made in
 */
export async function openRoutingSession(url: string, options: RoutingOptions = {}): Promise<RoutingSession | null> {
  const config = connectionConfig(
    url,
    options.process === undefined ? 'router' : `router ${options.process}`,
    'on',
    options.wires,
  );
  const client: pg.Client = new WatchedClient({
    ...config,
    options: `${config.options} -c idle_session_timeout=${options.idleTimeoutMs ?? 0}`,
  });
  try {
    // Before anything can break: an error without a listener would end the process.
    const failure = firstFailure(client);
    await client.connect();
    const { rows } = await client.query<{ leader: boolean }>('select pg_try_advisory_lock($1, $2) as leader', [
      lockClass,
      locks.routing,
    ]);
    if (rows[0]?.leader) return await resumeRouting(client, options, failure);
    await client.end();
    return null;
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}

/** A look that takes no connection; the lock decides. */
export async function isRouted(pool: pg.Pool): Promise<boolean> {
  const { rows } = await pool.query<{ routed: boolean }>(
    `select exists (
       select from pg_locks l join pg_database d on d.oid = l.database
       where d.datname = current_database() and l.locktype = 'advisory' and l.classid = $1 and l.objid = $2 and l.granted
     ) as routed`,
    [lockClass, locks.routing],
  );
  return rows[0]?.routed === true;
}

/**
 * A session on this connection, which becomes its own. Correct also without the lock: whoever commits second on one
 * version of the checkpoint writes nothing.
 * @throws UserError when the database is not the one the checkpoint was made in
 */
export async function resumeRouting(
  client: pg.Client,
  { environment = null, pages = {} }: RoutingOptions = {},
  failure: () => Error | null = firstFailure(client),
): Promise<RoutingSession> {
  const checkpoint = await readCheckpoint(client, environment);
  return new PostgresRoutingSession(client, environment, checkpoint, { ...defaultPages, ...pages }, failure);
}

function firstFailure(client: pg.Client): () => Error | null {
  let first: Error | null = null;
  client.on('error', (error) => {
    first ??= error;
  });
  return () => first;
}

class PostgresRoutingSession implements RoutingSession {
  readonly #client: pg.Client;
  readonly #environment: string | null;
  readonly #pages: PageSizes;
  readonly #failure: () => Error | null;
  /** The stored one, or ahead of it by deltas in which there was nothing. */
  #checkpoint: Checkpoint;
  #pending: Pending | null = null;
  #slice: readonly EventKey[] = [];
  #asleep = false;

  constructor(
    client: pg.Client,
    environment: string | null,
    checkpoint: Checkpoint,
    pages: PageSizes,
    failure: () => Error | null,
  ) {
    this.#client = client;
    this.#environment = environment;
    this.#checkpoint = checkpoint;
    this.#pages = pages;
    this.#failure = failure;
  }

  async read(): Promise<readonly EventRecord[]> {
    if (this.#pending === null || this.#pending.ids.length === 0) {
      const events = await this.#readDelta();
      if (events !== null) return this.#take(events);
    }
    const keys = this.#pending?.ids.slice(0, this.#pages.eventsPerSlice) ?? [];
    return keys.length === 0 ? [] : this.#take(await this.#readSlice(keys));
  }

  /** What `commit` will count as routed: the ids up to the last event handed out. */
  #take(events: readonly EventRecord[]): readonly EventRecord[] {
    const ids = this.#pending?.ids ?? [];
    const last = ids.findIndex((key) => key.id === events.at(-1)?.id);
    if (last === -1 && ids.length > 0)
      throw new Error(`events ${ids[0]?.id} … vanished from the log before they were routed`);
    this.#slice = ids.slice(0, last + 1);
    return events;
  }

  /** Finds the delta. A small one comes with its events; else null. */
  async #readDelta(): Promise<readonly EventRecord[] | null> {
    const { snapshot, target, afterId } = this.#checkpoint;
    const { idsPerDelta, eventsPerDelta, eventsPerSlice } = this.#pages;
    const { rows } = await this.#query<DeltaRow>('delta', deltaQuery, [
      snapshot,
      target,
      afterId,
      idsPerDelta,
      Math.min(eventsPerDelta, eventsPerSlice),
    ]);
    const found = rows.filter((row) => row.id !== null);
    if (found.length === 0 && rows[0]?.version !== this.#checkpoint.version) return this.#beginAnew();
    const reached = rows[0]?.target ?? snapshot;
    if (found.length === 0) return this.#nothingUpTo(reached);
    const ids = found.map((row) => ({ id: row.id ?? '', at: row.key_at }));
    const onDisk = rows[0]?.on_disk === true;
    this.#pending = { target: reached, ids, more: found.length === idsPerDelta, onDisk };
    return found.every((row) => row.event_id !== null) ? found.map((row) => toEventRecord(row as EventRow)) : null;
  }

  /** Somebody set the checkpoint anew, or routes beside us: a quiet log would never tell us by a commit that is refused. */
  async #beginAnew(): Promise<readonly EventRecord[] | null> {
    this.#pending = null;
    this.#checkpoint = await readCheckpoint(this.#client, this.#environment);
    return this.#readDelta();
  }

  /**
   * The stored checkpoint stays, whatever transactions came and went without writing events. When it has a target, the
   * last page of that was full to the brim, or a restart came right behind it: what is new lies beyond.
   */
  async #nothingUpTo(reached: string): Promise<readonly EventRecord[] | null> {
    const { target, version } = this.#checkpoint;
    this.#pending = null;
    this.#checkpoint = { snapshot: reached, target: null, afterId: '0', version };
    return target === null ? [] : this.#readDelta();
  }

  async #readSlice(keys: readonly EventKey[]): Promise<readonly EventRecord[]> {
    const { rows } = await this.#query<EventRow>('slice', sliceQuery, [
      keys.map((key) => key.id),
      keys.map((key) => key.at),
      this.#pages.bytesPerSlice,
    ]);
    return rows.map(toEventRecord);
  }

  async commit(decisions: Decisions, handover: Handover | null = null): Promise<readonly ClaimedDelivery[] | null> {
    const pending = this.#pending;
    if (pending === null) return [];
    const next = this.#advance(pending);
    const { rows } = await this.#query<CommitRow>('commit', commitQuery, [
      this.#checkpoint.version,
      next.checkpoint.snapshot,
      next.checkpoint.target,
      next.checkpoint.afterId,
      ...decisionColumns(decisions, handover),
      pending.onDisk ? 'off' : 'on',
    ]);
    if (rows[0]?.moved !== '1') return null;
    this.#checkpoint = next.checkpoint;
    this.#pending = next.pending;
    this.#slice = [];
    return handover === null ? [] : toClaims(handover, rows[0].claimed ?? []);
  }

  /** Where the checkpoint stands once the current slice is routed. */
  #advance(pending: Pending): { checkpoint: Checkpoint; pending: Pending | null } {
    const version = String(BigInt(this.#checkpoint.version) + 1n);
    const ids = pending.ids.slice(this.#slice.length);
    if (ids.length === 0 && !pending.more) {
      return { checkpoint: { snapshot: pending.target, target: null, afterId: '0', version }, pending: null };
    }
    const afterId = this.#slice.at(-1)?.id ?? this.#checkpoint.afterId;
    return {
      checkpoint: { snapshot: this.#checkpoint.snapshot, target: pending.target, afterId, version },
      pending: { ...pending, ids },
    };
  }

  async readReplays(): Promise<readonly ReplayRequest[]> {
    const { rows } = await this.#query<ReplayRow>('replays', replaysQuery);
    return rows.map((row) => ({
      deadLetterId: row.dead_letter_id,
      observer: row.observer,
      ruleVersion: row.rule_version,
      event: toEventRecord(row),
    }));
  }

  async commitReplay(request: ReplayRequest, decisions: Decisions): Promise<void> {
    await this.#query('replay', replayQuery, [request.deadLetterId, ...decisionColumns(decisions)]);
  }

  async fallAsleep(): Promise<boolean> {
    if (this.#asleep) return true;
    const { rows } = await this.#query<{ asleep: boolean }>('sleep', 'select pg_try_advisory_lock($1, $2) as asleep', [
      lockClass,
      locks.routerAsleep,
    ]);
    this.#asleep = rows[0]?.asleep === true;
    return this.#asleep;
  }

  get asleep(): boolean {
    return this.#asleep;
  }

  async wakeUp(): Promise<void> {
    if (!this.#asleep) return;
    this.#asleep = false;
    await this.#query('wake', 'select pg_advisory_unlock($1, $2)', [lockClass, locks.routerAsleep]);
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => {});
  }

  /** Prepared under its name: planning a query over a dozen partitions costs ten times its execution. */
  async #query<T extends pg.QueryResultRow>(
    name: string,
    text: string,
    values: unknown[] = [],
  ): Promise<pg.QueryResult<T>> {
    const failure = this.#failure();
    if (failure !== null) throw failure;
    return this.#client.query<T>({ name, text, values });
  }
}

interface CommitRow {
  moved: string;
  claimed: HandedOver[] | null;
}

type DeltaRow = { target: string; on_disk: boolean; version: string | null; id: string | null; key_at: string } & (
  | EventRow
  | { [K in keyof EventRow]: null }
);
type ReplayRow = EventRow & { dead_letter_id: string; observer: string; rule_version: string };
