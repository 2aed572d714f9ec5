import type pg from 'pg';
import { UserError } from '../../domain/errors.ts';
import { StandbyError } from './failures.ts';

/** How far the log is routed: everything visible in `snapshot`, and of `target` what comes up to `afterId`. */
export interface Checkpoint {
  readonly snapshot: string;
  /** null: no target is begun. */
  readonly target: string | null;
  readonly afterId: string;
  readonly version: string;
}

interface CheckpointRow {
  snapshot: string;
  target: string | null;
  after_id: string;
  version: string;
  same_cluster: boolean;
  standby: boolean;
  environment: string | null;
}

/**
 * Reads the checkpoint of a database that is ours to route; one without an environment is adopted.
 * @throws UserError on a standby, in another cluster, in another environment: refuses to guess, and says what to do
 */
export async function readCheckpoint(db: pg.ClientBase | pg.Pool, environment: string | null): Promise<Checkpoint> {
  const { rows } = await db.query<CheckpointRow>(`
    select snapshot::text, target::text, after_id::text, version::text, environment,
           system_identifier = (select system_identifier from pg_control_system()) as same_cluster,
           pg_is_in_recovery() as standby
    from observers.checkpoints where consumer = 'router'`);
  const row = rows[0];
  if (row === undefined) {
    throw new UserError(
      "observers.checkpoints has lost its row 'router', so which events are routed already is unknown. Restore it from a backup, " +
        'or drop the schema observers and run `pg-observers apply` to begin anew.',
      1,
      { code: 'PGO-CHECKPOINT' },
    );
  }
  refuseForeign(row);
  if (environment !== null) await claimEnvironment(db, row.environment, environment);
  return { snapshot: row.snapshot, target: row.target, afterId: row.after_id, version: row.version };
}

/** The snapshots of the checkpoint mean nothing here: on a standby they list no running transactions. */
function refuseForeign(row: CheckpointRow): void {
  if (row.standby) throw new StandbyError();
  if (row.same_cluster) return;
  throw new UserError(
    'This database was restored or copied into another cluster: the checkpoint counts transactions that do not exist here, so which events are routed already is unknown. ' +
      'Nothing is routed until you decide: `pg-observers checkpoint reset --to <time|event-id|now>` (with --dry-run it only counts). After pg_upgrade, which keeps transaction ids: `pg-observers checkpoint reset --xids-preserved`.',
    1,
    { code: 'PGO-COPY' },
  );
}

async function claimEnvironment(db: pg.ClientBase | pg.Pool, stored: string | null, configured: string): Promise<void> {
  if (stored === null) {
    await db.query(
      "update observers.checkpoints set environment = $1 where consumer = 'router' and environment is null",
      [configured],
    );
    return;
  }
  if (stored === configured) return;
  throw new UserError(
    `This database belongs to the environment ${JSON.stringify(stored)}, and this configuration says ${JSON.stringify(configured)}: is it a copy? Correct settings.environment, or adopt the database with \`update observers.checkpoints set environment = '${configured.replaceAll("'", "''")}'\`.`,
    1,
    { code: 'PGO-ENVIRONMENT' },
  );
}
