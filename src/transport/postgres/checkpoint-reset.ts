/** The checkpoint for people: where it stands, what holds events back behind it, and how to set it anew. */

import type pg from 'pg';
import { UserError } from '../../domain/errors.ts';
import { withTransaction } from './connection.ts';
import { readRoutingLag } from './status.ts';

export interface CheckpointReport {
  readonly snapshot: string;
  readonly target: string | null;
  readonly after_id: string;
  readonly version: string;
  readonly updated_at: string;
  readonly environment: string | null;
  /** Of the cluster in which the checkpoint counts transactions. */
  readonly system_identifier: string;
  /** Of the cluster that answers. */
  readonly cluster_identifier: string;
  /** False: restored or copied; the figures below mean nothing. */
  readonly same_cluster: boolean;
  /** Capped at 100,001. */
  readonly lag_events: number;
  readonly lag_ms: number | null;
  readonly oldest_unrouted: UnroutedEvent | null;
  readonly routed_by: readonly { readonly host: string; readonly pid: number }[];
  readonly held_back_by: readonly OpenTransaction[];
}

export interface UnroutedEvent {
  readonly id: string;
  readonly uid: string;
  readonly source: string;
  readonly operation: string;
  readonly created_at: string;
}

/** A transaction that has written events and has not ended: they are read when it commits, and hold up no others. */
export interface OpenTransaction {
  /** null: a prepared one. */
  readonly pid: number | null;
  readonly gid: string | null;
  readonly user: string | null;
  readonly application: string | null;
  readonly state: string | null;
  readonly since: string | null;
}

export async function reportCheckpoint(pool: pg.Pool): Promise<CheckpointReport> {
  const [checkpoint, lag, oldest, open, routers] = await Promise.all([
    pool.query<Pick<CheckpointReport, StoredField>>(storedQuery),
    readRoutingLag(pool),
    pool.query<UnroutedEvent>(
      `select e.id::text, e.uid::text, e.source, e.operation, e.created_at from observers.checkpoints c, observers.events e
       where c.consumer = 'router' and e.xid >= pg_snapshot_xmin(c.snapshot) and not ${routed} order by e.id limit 1`,
    ),
    pool.query<OpenTransaction>(openTransactionsQuery),
    pool.query<{ host: string; pid: number }>('select host, pid from observers.instances where routing'),
  ]);
  const stored = checkpoint.rows[0];
  if (stored === undefined)
    throw new UserError("observers.checkpoints has lost its row 'router'.", 1, { code: 'PGO-CHECKPOINT' });
  return {
    ...stored,
    lag_events: lag.lagEvents,
    lag_ms: lag.lagMs,
    oldest_unrouted: oldest.rows[0] ?? null,
    routed_by: routers.rows,
    held_back_by: open.rows,
  };
}

type StoredField =
  | 'snapshot'
  | 'target'
  | 'after_id'
  | 'version'
  | 'updated_at'
  | 'environment'
  | 'system_identifier'
  | 'cluster_identifier'
  | 'same_cluster';

const storedQuery = `
  select c.snapshot::text, c.target::text, c.after_id::text, c.version::text, c.updated_at, c.environment,
         c.system_identifier::text, s.system_identifier::text as cluster_identifier,
         c.system_identifier = s.system_identifier as same_cluster
  from observers.checkpoints c, pg_control_system() s where c.consumer = 'router'`;

/** The event `e` counts as routed under the checkpoint `c`. */
const routed = `(pg_visible_in_snapshot(e.xid, c.snapshot)
   or (c.target is not null and e.id <= c.after_id and pg_visible_in_snapshot(e.xid, c.target)))`;

/** Whoever writes into the log holds this lock on it, or on a part of it, until the transaction ends. */
const openTransactionsQuery = `
  select distinct a.pid, p.gid, coalesce(a.usename, p.owner)::text as user, a.application_name as application, a.state,
         coalesce(a.xact_start, p.prepared) as since
  from pg_locks l
  left join pg_stat_activity a on a.pid = l.pid
  -- A prepared transaction has no process; its lock on its own id says which it is.
  left join pg_locks t on l.pid is null and t.pid is null and t.locktype = 'transactionid'
    and t.virtualtransaction = l.virtualtransaction
  left join pg_prepared_xacts p on p.transaction = t.transactionid
  where l.locktype = 'relation' and l.mode = 'RowExclusiveLock' and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
    and l.pid is distinct from pg_backend_pid()
    and l.relation in (select 'observers.events'::regclass union all
                       select inhrelid from pg_inherits where inhparent = 'observers.events'::regclass)
    and coalesce(a.xact_start, p.prepared) < now() - interval '1 second'
  order by since limit 50`;

/** What the checkpoint is to be set to: behind this event (null: behind all there are). */
export interface ResetTarget {
  readonly afterEvent: string | null;
}

export interface ResetPreview {
  /** False: which events were routed before the restore can't be known here. */
  readonly same_cluster: boolean;
  /** Events behind the new checkpoint: the router will read them. */
  readonly to_route: number;
  /** Of these, how many have been routed before. */
  readonly again: number;
  /** Events that are not routed and never will be. */
  readonly skipped: number;
  /** Deliveries that are queued, and stay so. */
  readonly queued: number;
}

/** @param time Unix milliseconds. Never skips an event captured after it; may repeat one captured just before. */
export async function targetByTime(pool: pg.Pool, time: number): Promise<ResetTarget> {
  const { rows } = await pool.query<{ after: string | null }>(
    'select (min(id) - 1)::text as after from observers.events where created_at > to_timestamp($1::float8 / 1000)',
    [time],
  );
  return { afterEvent: rows[0]?.after ?? null };
}

/** @throws UserError when the log has no such event */
export async function targetByUid(pool: pg.Pool, uid: string): Promise<ResetTarget> {
  const { rows } = await pool.query<{ id: string }>('select id::text from observers.events where uid = $1', [uid]);
  if (rows[0] === undefined)
    throw new UserError(`There is no event ${uid} in the log: it may be past retention.`, 1, { code: 'PGO-EVENT' });
  return { afterEvent: rows[0].id };
}

export async function previewReset(db: pg.Pool | pg.PoolClient, { afterEvent }: ResetTarget): Promise<ResetPreview> {
  const { rows } = await db.query<ResetPreview>(
    `select c.system_identifier = (select system_identifier from pg_control_system()) as same_cluster,
            n.to_route, n.again, n.skipped, (select count(*)::int from observers.deliveries) as queued
     from observers.checkpoints c cross join lateral (
       select count(*) filter (where e.id > $1::bigint)::int as to_route,
              count(*) filter (where e.id > $1::bigint and ${routed})::int as again,
              count(*) filter (where (e.id > $1::bigint) is not true and not ${routed})::int as skipped
       from observers.events e where e.xid <> '3'
     ) n where c.consumer = 'router'`,
    [afterEvent],
  );
  if (rows[0] === undefined)
    throw new UserError("observers.checkpoints has lost its row 'router'.", 1, { code: 'PGO-CHECKPOINT' });
  return rows[0];
}

/**
 * Safe while an instance routes: what that one commits next names the old version, and is refused; it begins anew from here.
 * @returns what it did, counted under the lock
 */
export async function resetCheckpoint(pool: pg.Pool, target: ResetTarget): Promise<ResetPreview> {
  return withTransaction(pool, async (client) => {
    await client.query("select from observers.checkpoints where consumer = 'router' for update");
    const done = await previewReset(client, target);
    await client.query('select observers.reset_checkpoint($1::bigint)', [target.afterEvent]);
    return done;
  });
}

/**
 * After pg_upgrade, which gives the cluster a new identifier and keeps its transaction ids: the checkpoint means what it meant.
 * @returns false when it is of this cluster already
 * @throws UserError when the transaction ids can't have been kept
 */
export async function adoptCluster(pool: pg.Pool): Promise<boolean> {
  return withTransaction(pool, async (client) => {
    const { rows } = await client.query<{ same: boolean; kept: boolean }>(
      `select c.system_identifier = s.system_identifier as same,
              pg_snapshot_xmax(coalesce(c.target, c.snapshot)) <= pg_snapshot_xmax(pg_current_snapshot())
                and not exists (select from observers.events e where e.xid >= pg_snapshot_xmax(pg_current_snapshot())) as kept
       from observers.checkpoints c, pg_control_system() s where c.consumer = 'router' for update of c`,
    );
    if (rows[0]?.same) return false;
    if (!rows[0]?.kept) {
      throw new UserError(
        'The transaction ids were not preserved: this cluster has not come as far as the checkpoint and the log count. So this is no pg_upgrade but a restore: ' +
          'use `pg-observers checkpoint reset --to <time|event-id|now>`.',
        1,
        { code: 'PGO-COPY' },
      );
    }
    await client.query(
      `update observers.checkpoints set version = version + 1, updated_at = now(),
         system_identifier = (select system_identifier from pg_control_system()) where consumer = 'router'`,
    );
    return true;
  });
}
