import type pg from 'pg';
import { UserError } from '../domain/errors.ts';
import type { Config } from '../domain/rules.ts';
import { planCapture } from '../transport/postgres/capture-plan.ts';
import { reportCheckpoint } from '../transport/postgres/checkpoint-reset.ts';
import { hearsNotifications, readRights, readServer, readUsedDefaults } from '../transport/postgres/diagnosis.ts';
import { describeError } from '../transport/postgres/failures.ts';
import { createPooledPool, requireOwnSessions, requireSameDatabase } from '../transport/postgres/pooler.ts';
import { readDatabaseStatus } from '../transport/postgres/status.ts';
import { type DatabaseFacts, isUnknown, type Learnt } from './facts.ts';

/**
 * Everything that the checks of the database look at. What can't be found out (a right is missing, a pooler is in the way) is a fact, too.
 *
 * @param pool of two connections at least, to `url`
 * @param url where sessions are our own, if anywhere
 * @throws when the database can't be reached
 */
export async function gatherDatabaseFacts(pool: pg.Pool, url: string, config: Config | null): Promise<DatabaseFacts> {
  const server = await readServer(pool);
  const rights = await learn(readRights(pool, config).then(present));
  const installed = !isUnknown(rights) && rights.installed;
  const plan = config === null ? null : await learn(planCapture(pool, config).then(({ steps }) => steps));
  // What an old or half-migrated installation holds can't be read by this version.
  const readable =
    installed && !server.standby && (plan === null || isUnknown(plan) || !plan.some(({ kind }) => kind === 'migrate'));
  return {
    config,
    server,
    rights,
    plan,
    ownSessions: await learn(requireOwnSessions(pool).then(() => true as const)),
    sameDatabase: config?.directDatabase == null ? null : await learn(comparePaths(config, pool)),
    hears: await learn(hearsNotifications(pool, url)),
    checkpoint: readable ? await learn(reportCheckpoint(pool)) : null,
    usedDefaults: readable ? await learn(readUsedDefaults(pool)) : null,
    status: readable ? await learn(readDatabaseStatus(pool)) : null,
  };
}

async function comparePaths({ database }: Config, direct: pg.Pool): Promise<true> {
  const pooled = createPooledPool(database, 1);
  try {
    await requireSameDatabase(pooled, direct);
    return true;
  } finally {
    await pooled.end();
  }
}

function present<T>(value: T | null): T {
  if (value === null) throw new UserError('the database answered nothing');
  return value;
}

async function learn<T>(question: Promise<T>): Promise<Learnt<T>> {
  return question.catch((error: unknown) => ({ failed: describeError(error).split('\n').join('; ') }));
}
