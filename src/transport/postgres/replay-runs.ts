/**
 * Past events, routed again. A run keeps the checkpoint of its beginning: what was routed by then is a set that stands
 * still, so it can be paged by id without a gap, and what was not is the router's, once.
 */

import type pg from 'pg';
import { UserError } from '../../domain/errors.ts';
import type { EventRecord } from '../../domain/event.ts';
import type { Decisions, ReplayLog } from '../contract.ts';
import { readCheckpoint } from './checkpoint.ts';
import { decisionColumns, decisionInput } from './decision-sql.ts';
import { type PageRow, toEventRecords } from './event-page.ts';
import { wakeChannel, wakeFor } from './locks.ts';
import { sliceQuery } from './routing-sql.ts';

export interface ReplayRequested {
  /** ISO 8601. */
  readonly since: string;
  /** ISO 8601; null: now. */
  readonly until: string | null;
  readonly observers: readonly string[];
  readonly condition: string | null;
  readonly perSecond: number | null;
}

export interface ReplayRun {
  /** null: only counted. */
  readonly id: string | null;
  readonly since: string;
  readonly until: string;
  readonly observers: readonly string[];
  readonly condition: string | null;
  readonly per_second: number | null;
  readonly snapshot: string;
  readonly target: string | null;
  readonly up_to_id: string;
  readonly after_id: string;
  readonly version: string;
  readonly events: string;
  readonly deliveries: string;
  readonly faults: string;
  readonly started_at: string;
  readonly finished_at: string | null;
}

const columns = `r.id::text, r.since, r.until, r.observers, r.condition, r.per_second, r.snapshot::text, r.target::text, r.up_to_id::text,
  r.after_id::text, r.version::text, r.events::text, r.deliveries::text, r.faults::text, r.started_at, r.finished_at`;

/** @throws UserError when the database is a standby, another cluster or another environment */
export async function planReplay(
  pool: pg.Pool,
  environment: string | null,
  requested: ReplayRequested,
): Promise<ReplayRun> {
  await readCheckpoint(pool, environment);
  const { rows } = await pool.query<ReplayRun>(
    `select null as id, $1::timestamptz as since, coalesce($2::timestamptz, now()) as until, $3::text[] as observers, $4::text as condition,
            $5::float8 as per_second, c.snapshot::text, c.target::text, c.after_id::text as up_to_id, '0' as after_id, '0' as version,
            '0' as events, '0' as deliveries, '0' as faults, now() as started_at, null as finished_at
     from observers.checkpoints c where c.consumer = 'router'`,
    [requested.since, requested.until, requested.observers, requested.condition, requested.perSecond],
  );
  const [run] = rows;
  if (run === undefined) throw new Error('the checkpoint was read a moment ago');
  return run;
}

/** From here on it can be resumed. */
export async function beginReplay(pool: pg.Pool, run: ReplayRun): Promise<ReplayRun> {
  const { rows } = await pool.query<{ id: string }>(
    `insert into observers.replay_runs (since, until, observers, condition, per_second, snapshot, target, up_to_id, system_identifier)
     select $1, $2, $3, $4, $5, $6, $7, $8, c.system_identifier from pg_control_system() c returning id::text`,
    [run.since, run.until, run.observers, run.condition, run.per_second, run.snapshot, run.target, run.up_to_id],
  );
  return { ...run, id: rows[0]?.id ?? null };
}

/** @throws UserError when there is none, it is finished, or its snapshots mean nothing here */
export async function resumeReplay(pool: pg.Pool, environment: string | null, id: string): Promise<ReplayRun> {
  await readCheckpoint(pool, environment);
  const { rows } = await pool.query<ReplayRun & { same_cluster: boolean }>(
    `select ${columns}, r.system_identifier = c.system_identifier as same_cluster
     from observers.replay_runs r cross join pg_control_system() c where r.id = $1::bigint`,
    [id],
  );
  const [run] = rows;
  if (run === undefined) throw new UserError(`There is no replay ${id}: see \`pg-observers replay --list\`.`);
  if (run.finished_at !== null) throw new UserError(`Replay ${id} is finished: start a new one.`);
  if (!run.same_cluster) {
    throw new UserError(
      `Replay ${id} was begun in another cluster, where transactions had other numbers: start a new one.`,
    );
  }
  return run;
}

/** The newest first. */
export async function listReplays(pool: pg.Pool, limit = 50): Promise<readonly ReplayRun[]> {
  const { rows } = await pool.query<ReplayRun>(
    `select ${columns} from observers.replay_runs r order by r.id desc limit $1`,
    [limit],
  );
  return rows;
}

/** Ids found by one look; the events come in slices of so many, or of so many bytes. */
const idsPerLook = 10_000;
const eventsPerSlice = 1_000;
const bytesPerSlice = 8 * 1024 * 1024;

/** @param sources names as the log has them */
export function openReplayLog(pool: pg.Pool, run: ReplayRun, sources: readonly string[]): ReplayLog {
  let version = run.version;
  return {
    read: () => readSlices(pool, run, sources),
    async commit(decisions, step) {
      const { rows } = await pool.query<{ moved: string }>(commitQuery, [
        run.id,
        version,
        step.afterId,
        step.events,
        step.finished,
        wakeChannel,
        wakeFor.deliveries,
        ...decisionColumns(decisions),
        sumOf(decisions),
      ]);
      if (rows[0]?.moved !== '1') return false;
      version = String(BigInt(version) + 1n);
      return true;
    },
  };
}

const sumOf = ({ deliveries, faults }: Decisions) => [deliveries.length, faults.length];

async function* readSlices(
  pool: pg.Pool,
  run: ReplayRun,
  sources: readonly string[],
): AsyncGenerator<readonly EventRecord[]> {
  for (let after = run.after_id; ; ) {
    const { rows } = await pool.query<{ ids: string[] | null; times: string[] | null }>(idsQuery, [
      run.snapshot,
      run.target,
      run.up_to_id,
      run.since,
      run.until,
      sources,
      after,
      idsPerLook,
    ]);
    const ids = rows[0]?.ids ?? [];
    const times = rows[0]?.times ?? [];
    for (let from = 0; from < ids.length; ) {
      const slice = [ids.slice(from, from + eventsPerSlice), times.slice(from, from + eventsPerSlice)];
      const { rows: pages } = await pool.query<PageRow>(sliceQuery, [...slice, bytesPerSlice]);
      const events = pages.flatMap(toEventRecords);
      // Retention may have taken all of them since.
      from += events.length === 0 ? eventsPerSlice : 1 + ids.indexOf(events.at(-1)?.id ?? '', from) - from;
      if (events.length > 0) yield events;
    }
    if (ids.length < idsPerLook) return;
    after = ids.at(-1) ?? after;
  }
}

/** $1 – $3 the checkpoint when it began, $4 since, $5 until, $6 sources, $7 after id, $8 most ids. */
const idsQuery = `
with page as (
  select e.id, e.created_at from observers.events e
  where e.id > $7::bigint and e.created_at >= $4::timestamptz and e.created_at < $5::timestamptz and e.source = any ($6::text[])
    and (pg_visible_in_snapshot(e.xid, $1::pg_snapshot)
         or coalesce(e.id <= $3::bigint and pg_visible_in_snapshot(e.xid, $2::pg_snapshot), false))
  order by e.id limit $8
)
select array_agg(id::text order by id) as ids, array_agg(created_at::text order by id) as times from page`;

/**
 * $1 run, $2 version to swap, $3 – $5 how far it is then, $6 and $7 the call for those that deliver, then the decisions, $24
 * how many. Another version: not a row is written. A condition that failed before has its dead letter already.
 */
const commitQuery = `
with move as (
    update observers.replay_runs
    set after_id = coalesce($3::bigint, after_id), events = events + $4::bigint, version = version + 1, updated_at = now(),
        deliveries = deliveries + ($24::bigint[])[1], faults = faults + ($24::bigint[])[2],
        finished_at = case when $5::boolean then now() end
    where id = $1::bigint and version = $2::bigint and finished_at is null
    returning 1
  ),
  gate as (select count(*) = 1 as moved from move),
  ${decisionInput(8, '$1')},
  died as (
    insert into observers.dead_letters
      (event_id, event_uid, event, observer, tenant, reason, error_class, error_message, rule_version)
    select e.id, e.uid, observers.event_json(e), f.observer, e.tenant, 'engine_fault', 'condition', f.message, f.rule_version
    from fault f join observers.events e on e.id = f.event_id and e.created_at = f.event_at
    left join observers.dead_letters d on d.event_uid = e.uid and d.observer = f.observer and d.action is null
    where d.id is null
    order by f.n
  )
select count(*)::text as moved, case when count(*) > 0 and ($24::bigint[])[1] > 0 then pg_notify($6, $7) end from move`;
