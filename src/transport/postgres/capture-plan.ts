import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { UserError } from '../../domain/errors.ts';
import type { Config } from '../../domain/rules.ts';
import { desiredCapture } from './capture-sources.ts';
import {
  desiredTriggers,
  dropFunctionSteps,
  dropTriggerSteps,
  functionSteps,
  type PlanStep,
  replaceSteps,
  triggerSteps,
} from './capture-steps.ts';
import { readInstalled } from './catalog.ts';
import { withTransaction } from './connection.ts';
import { describeError, sqlState } from './failures.ts';
import { lockClass, locks } from './locks.ts';
import { migrate, pendingMigrations } from './migrations.ts';
import { requireOwnSessions } from './pooler.ts';

export type { PlanStep } from './capture-steps.ts';

export interface Plan {
  readonly steps: readonly PlanStep[];
}

/**
 * What is missing or different between the sources of the file and what the database holds. Reads only.
 * @throws ConfigError when a source names what does not exist or can't be captured
 */
export async function planCapture(pool: pg.Pool, config: Config): Promise<Plan> {
  return withTransaction(pool, async (client) => {
    await client.query('set transaction read only');
    // So that pg_get_expr qualifies every name it prints.
    await client.query('set local search_path = pg_catalog');
    const migrations = (await pendingMigrations(client)).map(
      (m): PlanStep => ({
        kind: 'migrate',
        subject: `migration ${m.name}`,
        reason: 'not applied yet',
        sql: m.sql,
        locks: null,
      }),
    );
    const desired = await desiredCapture(client, config);
    const installed = await readInstalled(client);
    const functions = new Map(desired.flatMap((d) => d.functions).map((fn) => [fn.name, fn]));
    const triggers = desired.flatMap(desiredTriggers);
    const replaced = replaceSteps(triggers, installed.triggers);
    const others = triggers.filter((t) => !replaced.has(t.fn.name));
    const steps = [
      ...migrations,
      ...functionSteps(
        [...functions.values()].filter((fn) => !replaced.has(fn.name)),
        installed.functions,
      ),
      ...replaced.values(),
      ...others.flatMap((t) => triggerSteps(t, installed.triggers)),
      ...dropTriggerSteps(triggers, installed.triggers),
      ...dropFunctionSteps(functions, installed.functions),
    ];
    return { steps };
  }).catch((error: unknown) => {
    if (sqlState(error) !== '42501') throw error;
    throw new UserError(`This role may not look at what is installed: ${describeError(error)}.`, 1, {
      cause: error,
      code: 'PGO-RIGHTS',
    });
  });
}

/**
 * Brings the database to what the file says; returns the steps taken. Running it twice takes none the second time, and of
 * two that run at once one waits for the other.
 */
export async function applyCapture(
  pool: pg.Pool,
  config: Config,
  onStep: (step: PlanStep) => void = () => {},
  wanted: (step: PlanStep) => boolean = () => true,
  lockAttempts = usualLockAttempts,
): Promise<readonly PlanStep[]> {
  const { steps } = await planCapture(pool, config);
  // The usual start finds nothing to do, and then needs no lock.
  if (!steps.some(wanted)) return [];
  return withApplyLock(pool, () => takeSteps(pool, config, onStep, wanted, lockAttempts));
}

async function takeSteps(
  pool: pg.Pool,
  config: Config,
  onStep: (step: PlanStep) => void,
  wanted: (step: PlanStep) => boolean,
  lockAttempts: number,
): Promise<readonly PlanStep[]> {
  const before = await planCapture(pool, config);
  const migrating = before.steps.filter((step) => step.kind === 'migrate');
  if (migrating.length > 0) {
    await migrate(pool);
    for (const step of migrating) onStep(step);
  }
  // Planned anew: the migration may have changed what there is to do.
  const planned = migrating.length > 0 ? await planCapture(pool, config) : before;
  const steps = planned.steps.filter(wanted);
  for (const step of steps) {
    await applyStep(pool, step, lockAttempts);
    onStep(step);
  }
  return [...migrating, ...steps];
}

/** Held by a session, as the steps are transactions of their own. */
async function withApplyLock<T>(pool: pg.Pool, work: () => Promise<T>): Promise<T> {
  await requireOwnSessions(pool);
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query('select pg_advisory_lock($1, $2)', [lockClass, locks.apply]);
    return await work();
  } finally {
    await client.query('select pg_advisory_unlock($1, $2)', [lockClass, locks.apply]).catch((failure: Error) => {
      broken = failure;
    });
    client.release(broken);
  }
}

/** Of half a second each: how long a table that others hold is waited for. */
const usualLockAttempts = 20;
/** Milliseconds in which those who waited behind us get their turn. */
const lockPauseMs = 200;

/** A step each in a transaction of its own, so that no table stays locked while the next one is waited for. */
async function applyStep(pool: pg.Pool, step: PlanStep, lockAttempts: number): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await withTransaction(pool, async (client) => {
        // Writers queue behind a waiting lock request: ask briefly and often rather than once and long.
        await client.query("set local lock_timeout = '500ms'");
        await client.query(step.sql);
      });
    } catch (error) {
      const busy = ['55P03', '40P01'].includes(sqlState(error) ?? '');
      if (!busy || attempt === lockAttempts) throw stepFailed(step, error);
      await sleep(lockPauseMs);
    }
  }
}

function stepFailed(step: PlanStep, error: unknown): unknown {
  const reason = error instanceof Error ? error.message : String(error);
  if (sqlState(error) === '42501') {
    return new UserError(
      `This role may not change ${step.subject} (${reason}). Run \`pg-observers apply\` as the table's owner, then \`pg-observers run --no-apply\`.`,
      1,
      { cause: error, code: 'PGO-RIGHTS' },
    );
  }
  if (sqlState(error) === '55P03') {
    return new UserError(
      `${step.locks ?? step.subject} stayed locked by a long transaction: ${step.subject} was not changed. Run \`pg-observers apply\` again when it has ended.`,
      1,
      { cause: error, code: 'PGO-LOCKED' },
    );
  }
  return error;
}
