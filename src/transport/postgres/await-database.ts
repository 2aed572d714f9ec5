import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { Telemetry } from '../../domain/telemetry.ts';
import { isTransient, unreachable } from './failures.ts';

const longestPauseMs = 1_000;

/**
 * Resolves when the database answers, or when `stopped`. An outage is one message.
 * @throws UserError (exit status 3) when waiting would not help: wrong login, no such database
 */
export async function awaitDatabase(
  pool: pg.Pool,
  url: string,
  telemetry: Telemetry,
  stopped: () => boolean,
): Promise<void> {
  const since = performance.now();
  for (let attempt = 1; !stopped(); attempt++) {
    try {
      await pool.query('select 1');
      const afterMs = Math.round(performance.now() - since);
      if (attempt > 1) telemetry({ type: 'database.reached', stage: 'start', afterMs });
      return;
    } catch (error) {
      if (stopped()) return;
      const problem = unreachable(url, error);
      if (!isTransient(error)) throw problem;
      if (attempt === 1) telemetry({ type: 'database.unreachable', stage: 'start', message: problem.message });
      await sleep(Math.min(100 * attempt, longestPauseMs));
    }
  }
}
