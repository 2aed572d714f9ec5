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
import { connectionConfig, placeHolding } from './connection.ts';
import { decisionColumns, queueingColumns } from './decision-sql.ts';
import { Delta, elements, type ReadSlice } from './delta.ts';
import { type PageRow, toEventRecords } from './event-page.ts';
import { type EventRow, toEventRecord } from './event-row.ts';
import { type HandedOver, toClaims } from './handover.ts';
import { lockClass, locks } from './locks.ts';
import { defaultPages, type PageSizes } from './page-sizes.ts';
import { commitStatement, deltaQuery, replayQuery, replaysQuery, sliceQuery } from './routing-sql.ts';
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

/** For the ids of a whole delta: the default of 4 MB would sort them on disk. */
const sortMemory = '16MB';

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
  const held = placeHolding(config, options.idleTimeoutMs ?? 0);
  const client: pg.Client = new WatchedClient({ ...held, options: `${held.options} -c work_mem=${sortMemory}` });
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
  #delta: Delta | null = null;
  #asleep = false;
  #replaysWait = false;

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
    if (this.#delta !== null && !this.#delta.spent) return this.#delta.next();
    const events = await this.#readDelta();
    return events ?? (await this.#delta?.next()) ?? [];
  }

  /** Finds the delta. A small one comes with its events; else null. */
  async #readDelta(): Promise<readonly EventRecord[] | null> {
    const { snapshot, target, afterId, version } = this.#checkpoint;
    const { idsPerDelta, eventsPerDelta, eventsPerSlice } = this.#pages;
    const { rows } = await this.#query<DeltaRow>('delta', deltaQuery, [
      snapshot,
      target,
      afterId,
      idsPerDelta,
      Math.min(eventsPerDelta, eventsPerSlice),
    ]);
    const [first] = rows;
    if (first === undefined) throw new Error('a look at the log yields a row at least');
    this.#replaysWait = first.replays;
    const ids = elements(first.all_ids);
    if (ids.length === 0 && first.version !== version) return this.#beginAnew();
    if (ids.length === 0) return this.#nothingUpTo(first.target);
    const found = { target: first.target, ids, times: elements(first.all_times), more: ids.length === idsPerDelta };
    this.#delta = new Delta({ ...found, onDisk: first.on_disk }, eventsPerSlice, this.#readSlice);
    const events = toEventRecords(first);
    return events.length === ids.length ? this.#delta.take(events) : null;
  }

  /** Somebody set the checkpoint anew, or routes beside us: a quiet log would never tell us by a commit that is refused. */
  async #beginAnew(): Promise<readonly EventRecord[] | null> {
    this.#delta = null;
    this.#checkpoint = await readCheckpoint(this.#client, this.#environment);
    return this.#readDelta();
  }

  /**
   * The stored checkpoint stays, whatever transactions came and went without writing events. When it has a target, the
   * last page of that was full to the brim, or a restart came right behind it: what is new lies beyond.
   */
  async #nothingUpTo(reached: string): Promise<readonly EventRecord[] | null> {
    const { target, version } = this.#checkpoint;
    this.#delta = null;
    this.#checkpoint = { snapshot: reached, target: null, afterId: '0', version };
    return target === null ? [] : this.#readDelta();
  }

  readonly #readSlice: ReadSlice = async (ids, times) => {
    const arrays = [`{${ids.join()}}`, `{${times.join()}}`];
    const { rows } = await this.#query<PageRow>('slice', sliceQuery, [...arrays, this.#pages.bytesPerSlice]);
    return rows.flatMap(toEventRecords);
  };

  async commit(decisions: Decisions, handover: Handover | null = null): Promise<readonly ClaimedDelivery[] | null> {
    const delta = this.#delta;
    if (delta === null) return [];
    const next = this.#advance(delta);
    const { name, text, values } = commitStatement(decisions);
    const written = this.#query<CommitRow>(name, text, [
      this.#checkpoint.version,
      next.snapshot,
      next.target,
      next.afterId,
      ...queueingColumns(decisions, handover),
      delta.onDisk ? 'off' : 'on',
      ...values,
    ]);
    delta.committing();
    const { rows } = await written;
    if (rows[0]?.moved !== '1') return null;
    this.#checkpoint = next;
    delta.committed();
    if (next.target === null) this.#delta = null;
    return handover === null ? [] : toClaims(handover, rows[0].claimed ?? []);
  }

  /** Where the checkpoint stands once the slice in hand is routed. */
  #advance(delta: Delta): Checkpoint {
    const { snapshot, afterId, version: before } = this.#checkpoint;
    const version = String(BigInt(before) + 1n);
    if (delta.endsWithSlice) return { snapshot: delta.target, target: null, afterId: '0', version };
    return { snapshot, target: delta.target, afterId: delta.lastTaken ?? afterId, version };
  }

  get replaysWait(): boolean {
    return this.#replaysWait;
  }

  get hasMore(): boolean {
    return this.#delta !== null;
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

interface DeltaRow extends PageRow {
  target: string;
  on_disk: boolean;
  version: string | null;
  replays: boolean;
  all_ids: string | null;
  all_times: string | null;
}

type ReplayRow = EventRow & { dead_letter_id: string; observer: string; rule_version: string };
