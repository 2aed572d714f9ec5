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
 * - nothing is written for an empty delta
 * - primary only: a standby's snapshot lists no running transactions
 */

import pg from 'pg';
import { UserError } from '../../domain/errors.ts';
import type { EventRecord } from '../../domain/event.ts';
import type { Decisions, ReplayRequest, RoutingSession } from '../contract.ts';
import { connectionConfig } from './connection.ts';
import { type EventRow, eventColumns, keptEventColumns, toEventRecord } from './event-row.ts';
import { lockClass, locks } from './locks.ts';

/** Ids fetched at once: paging a delta of a million by a thousand would sort it a thousand times. */
const idsPerDelta = 100_000;
/** Events decided and committed at once. */
const eventsPerSlice = 1_000;
/** Stored bytes of a slice (compressed where TOAST compresses), so that 1,000 rows of 10 MB don't meet in memory. */
const bytesPerSlice = 16 * 1024 * 1024;

interface Checkpoint {
  snapshot: string;
  target: string | null;
  afterId: string;
  version: string;
}

interface Pending {
  readonly target: string;
  /** All ids of the delta that are not committed yet, in order; `more`: the delta has others behind them. */
  ids: readonly EventKey[];
  readonly more: boolean;
}

interface EventKey {
  readonly id: string;
  readonly at: string;
}

/**
 * Opens a routing session, or returns null when another instance routes.
 * @throws UserError when the database is not the one the checkpoint was made in
 */
export async function openRoutingSession(url: string, environment: string | null): Promise<RoutingSession | null> {
  const client = new pg.Client(connectionConfig(url, 'router'));
  let broken: Error | null = null;
  client.on('error', (error) => {
    broken = error;
  });
  try {
    await client.connect();
    const { rows } = await client.query<{ leader: boolean }>('select pg_try_advisory_lock($1, $2) as leader', [
      lockClass,
      locks.routing,
    ]);
    if (!rows[0]?.leader) {
      await client.end();
      return null;
    }
    const checkpoint = await readCheckpoint(client, environment);
    return new PostgresRoutingSession(client, checkpoint, () => broken);
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}

/** Refuses to guess when the snapshots of the checkpoint mean nothing here. */
async function readCheckpoint(client: pg.Client, environment: string | null): Promise<Checkpoint> {
  const { rows } = await client.query<{
    snapshot: string;
    target: string | null;
    after_id: string;
    version: string;
    same_cluster: boolean;
    standby: boolean;
    environment: string | null;
  }>(`
    select snapshot::text, target::text, after_id::text, version::text, environment,
           system_identifier = (select system_identifier from pg_control_system()) as same_cluster,
           pg_is_in_recovery() as standby
    from observers.checkpoints where consumer = 'router'`);
  const row = rows[0];
  if (row === undefined) throw new UserError('observers.checkpoints has lost its row: run `pg-observers apply`.');
  if (row.standby) throw new UserError('This server is a standby: point `database:` at the primary.');
  if (!row.same_cluster) {
    throw new UserError(
      'This database was restored or copied into another cluster: the checkpoint counts transactions that do not exist here, so which events are routed already is unknown. ' +
        'Nothing is routed until you decide: `select observers.reset_checkpoint()` in psql routes only what is captured from now on; `select observers.reset_checkpoint(after_event => ID)` also routes everything after that event id again.',
    );
  }
  if (environment !== null && row.environment !== null && row.environment !== environment) {
    throw new UserError(
      `This database belongs to the environment ${JSON.stringify(row.environment)}, and this configuration says ${JSON.stringify(environment)}: is it a copy? Correct settings.environment, or adopt the database with \`update observers.checkpoints set environment = '${environment.replaceAll("'", "''")}'\`.`,
    );
  }
  if (environment !== null && row.environment === null) {
    await client.query("update observers.checkpoints set environment = $1 where consumer = 'router'", [environment]);
  }
  return { snapshot: row.snapshot, target: row.target, afterId: row.after_id, version: row.version };
}

class PostgresRoutingSession implements RoutingSession {
  readonly #client: pg.Client;
  readonly #failure: () => Error | null;
  #checkpoint: Checkpoint;
  #pending: Pending | null = null;
  #slice: readonly EventKey[] = [];
  #asleep = false;

  constructor(client: pg.Client, checkpoint: Checkpoint, failure: () => Error | null) {
    this.#client = client;
    this.#checkpoint = checkpoint;
    this.#failure = failure;
  }

  async read(): Promise<readonly EventRecord[]> {
    if (this.#pending === null || this.#pending.ids.length === 0) {
      const first = await this.#readDelta();
      if (first !== null) return this.#take(first);
    }
    const keys = this.#pending?.ids.slice(0, eventsPerSlice) ?? [];
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

  /** Finds the delta. A small one comes with its events, saving a round trip where latency counts; else null. */
  async #readDelta(): Promise<readonly EventRecord[] | null> {
    const { snapshot, target, afterId } = this.#checkpoint;
    const { rows } = await this.#query<DeltaRow>('delta', deltaQuery, [snapshot, target, afterId, idsPerDelta]);
    const first = rows[0];
    if (first === undefined && target !== null) {
      // The last page of that target was full to the brim, or a restart came right behind it.
      this.#checkpoint = { ...this.#checkpoint, snapshot: target, target: null, afterId: '0' };
      return this.#readDelta();
    }
    // Nothing new: the checkpoint stays, whatever transactions came and went without writing events.
    if (first === undefined) {
      this.#pending = null;
      return [];
    }
    const ids = rows.map((row) => ({ id: row.id, at: row.key_at }));
    this.#pending = { target: first.target, ids, more: rows.length === idsPerDelta };
    return rows.every((row) => row.event_id !== null) ? rows.map((row) => toEventRecord(row as EventRow)) : null;
  }

  async #readSlice(keys: readonly EventKey[]): Promise<readonly EventRecord[]> {
    const { rows } = await this.#query<EventRow>('slice', sliceQuery, [
      keys.map((key) => key.id),
      keys.map((key) => key.at),
      bytesPerSlice,
    ]);
    return rows.map(toEventRecord);
  }

  async commit(decisions: Decisions): Promise<boolean> {
    const pending = this.#pending;
    if (pending === null) return true;
    const next = this.#advance(pending);
    const { rows } = await this.#query<{ moved: string }>('commit', commitQuery, [
      this.#checkpoint.version,
      next.checkpoint.snapshot,
      next.checkpoint.target,
      next.checkpoint.afterId,
      ...decisionColumns(decisions),
    ]);
    if (rows[0]?.moved !== '1') return false;
    this.#checkpoint = next.checkpoint;
    this.#pending = next.pending;
    this.#slice = [];
    return true;
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
    const { rows } = await this.#query<EventRow & { dead_letter_id: string; observer: string }>(
      'replays',
      `select r.dead_letter_id::text, d.observer, ${keptEventColumns('d')}
       from observers.replays r join observers.dead_letters d on d.id = r.dead_letter_id order by r.id limit 100`,
    );
    return rows.map((row) => ({
      deadLetterId: row.dead_letter_id,
      observer: row.observer,
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

type DeltaRow = { target: string; id: string; key_at: string } & (EventRow | { [K in keyof EventRow]: null });

/**
 * $1 checkpointed snapshot, $2 target or null for now, $3 after id, $4 limit.
 *
 * UNION ALL over the index on (xid, id), materialized: an `or`, or a planner that sees the limit, walks the primary key. From the transactions that were running at
 * the checkpoint only those that have ended since are looked up, else a million rows of an open one are read every time.
 */
const target = 'coalesce($2::pg_snapshot, pg_current_snapshot())';
const deltaQuery = `
with delta as materialized (
  select id, xid, created_at from observers.events
  where xid >= pg_snapshot_xmax($1::pg_snapshot) and xid < pg_snapshot_xmax(${target})
  union all
  select id, xid, created_at from observers.events
  where xid = any (array(
    select x from pg_snapshot_xip($1::pg_snapshot) x where pg_visible_in_snapshot(x, ${target})))
),
page as materialized (
  select id, created_at, row_number() over (order by id) as n
  from (select id, created_at from delta where pg_visible_in_snapshot(xid, ${target}) and id > $3::bigint order by id limit $4) as d
)
select ${target}::text as target, p.id::text as id, p.created_at as key_at, ${eventColumns('e')}
from page p
left join lateral (
  select * from observers.events e
  where (select count(*) from page) <= 100 and e.id = p.id and e.created_at = p.created_at
    and coalesce(pg_column_size(e.old), 0) + coalesce(pg_column_size(e.new), 0) + coalesce(pg_column_size(e.payload), 0) < 65536
) e on true
order by p.id`;

/** $1 ids and $2 their times (which prune partitions), $3 byte budget: always at least one event, whatever its size. */
const sliceQuery = `
select ${eventColumns('e')} from (
  select e.*, sum(coalesce(pg_column_size(e.old), 0)::bigint + coalesce(pg_column_size(e.new), 0) + coalesce(pg_column_size(e.payload), 0))
                over (order by k.n) as bytes, k.n
  from unnest($1::bigint[], $2::timestamptz[]) with ordinality as k(id, at, n)
  join observers.events e on e.id = k.id and e.created_at = k.at
) e
where e.bytes <= $3::bigint or e.n = 1
order by e.n`;

/** The columns of both kinds of decision as arrays, from parameter `first` on. Ordinality keeps the order of the log. */
const decisionInput = (first: number) => `
  wanted as (
    select * from unnest($${first}::bigint[], $${first + 1}::timestamptz[], $${first + 2}::uuid[], $${first + 3}::text[], $${first + 4}::text[],
                         $${first + 5}::text[], $${first + 6}::text[], $${first + 7}::text[], $${first + 8}::text[])
      with ordinality as w(event_id, event_at, event_uid, observer, action, destination, tenant, ordering_key, rule_version, n)
    where (select moved from gate)
  ),
  -- The lane's row lock orders this against the settlement of the lane's head.
  lane as (
    insert into observers.lanes as l (destination, ordering_key, pending)
    select destination, ordering_key, count(*) from wanted where ordering_key is not null group by 1, 2 order by 1, 2
    on conflict (destination, ordering_key) do update set pending = l.pending + excluded.pending
    returning destination, ordering_key, pending
  ),
  queued as (
    insert into observers.deliveries
      (event_id, event_at, event_uid, observer, action, destination, tenant, ordering_key, state, rule_version)
    select w.event_id, w.event_at, w.event_uid, w.observer, w.action, w.destination, w.tenant, w.ordering_key,
           case when w.ordering_key is null then 'ready'
                when l.pending = count(*) over lane_rows and row_number() over (lane_rows order by w.n) = 1 then 'ready'
                else 'blocked' end,
           w.rule_version
    from wanted w left join lane l on l.destination = w.destination and l.ordering_key = w.ordering_key
    window lane_rows as (partition by w.destination, w.ordering_key)
    order by w.n
  ),
  fault as (
    select * from unnest($${first + 9}::bigint[], $${first + 10}::timestamptz[], $${first + 11}::text[], $${first + 12}::text[], $${first + 13}::text[])
      with ordinality as f(event_id, event_at, observer, message, rule_version, n)
    where (select moved from gate)
  )`;

const commitQuery = `
with move as (
    update observers.checkpoints
    set snapshot = $2::pg_snapshot, target = $3::pg_snapshot, after_id = $4::bigint, version = version + 1, updated_at = now()
    where consumer = 'router' and version = $1::bigint
    returning 1
  ),
  gate as (select count(*) = 1 as moved from move),
  ${decisionInput(5)},
  died as (
    insert into observers.dead_letters
      (event_id, event_uid, event, observer, tenant, reason, error_class, error_message, rule_version)
    select e.id, e.uid, observers.event_json(e), f.observer, e.tenant, 'engine_fault', 'condition', f.message, f.rule_version
    from fault f join observers.events e on e.id = f.event_id and e.created_at = f.event_at
    order by f.n
  )
select count(*)::text as moved from move`;

/** Resolved (fired or not): the dead letter goes; faulty again: it stays with what is wrong now. */
const replayQuery = `
with request as (delete from observers.replays where dead_letter_id = $1::bigint returning dead_letter_id),
  gate as (select count(*) = 1 as moved from request),
  ${decisionInput(2)},
  resolved as (
    delete from observers.dead_letters d using request r
    where d.id = r.dead_letter_id and not exists (select from fault)
  )
update observers.dead_letters d set error_message = f.message, rule_version = f.rule_version, died_at = now()
from fault f where d.id = (select dead_letter_id from request)`;

function decisionColumns({ deliveries, faults }: Decisions): unknown[] {
  return [
    deliveries.map((d) => d.event.id),
    deliveries.map((d) => d.event.at),
    deliveries.map((d) => d.event.uid),
    deliveries.map((d) => d.observer),
    deliveries.map((d) => d.action),
    deliveries.map((d) => d.destination),
    deliveries.map((d) => d.event.tenant),
    deliveries.map((d) => d.orderingKey),
    deliveries.map((d) => d.ruleVersion),
    faults.map((f) => f.event.id),
    faults.map((f) => f.event.at),
    faults.map((f) => f.observer),
    faults.map((f) => f.message),
    faults.map((f) => f.ruleVersion),
  ];
}
