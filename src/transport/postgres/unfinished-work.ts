import type pg from 'pg';

/** A replay or a backfill that was begun and is not finished: it runs, or it waits for `--resume`. */
export interface UnfinishedWork {
  readonly kind: 'replay' | 'backfill';
  /** Number of the replay, or source of the backfill: what `--resume` wants to know. */
  readonly name: string;
  readonly started_at: string;
  /** Of its last step. */
  readonly updated_at: string;
  readonly events: number;
}

/** One that nobody went on with for a week is nobody's any more: it stays in `replay --list`. */
const unfinishedQuery = `
select * from (
  select 'replay' as kind, id::text as name, started_at, updated_at, events::float8 from observers.replay_runs where finished_at is null
  union all
  select 'backfill', source, started_at, updated_at, events::float8 from observers.backfills where finished_at is null
) work
where updated_at > now() - interval '7 days' order by updated_at desc limit 20`;

/** The one with the latest step first. */
export async function readUnfinishedWork(pool: pg.Pool): Promise<readonly UnfinishedWork[]> {
  return (await pool.query<UnfinishedWork>(unfinishedQuery)).rows;
}
