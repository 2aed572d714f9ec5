import { createDatabase } from '../support/database.ts';
import { type RunResult, runScenario } from './run.ts';
import type { Scenario } from './scenario.ts';

/** A short run in a database of its own on the tests' server: for scenarios that leave the server alone. */
export async function shortRun(
  scenario: Scenario,
  options: { seed: number; durationMs: number; patienceMs?: number; program?: string },
): Promise<RunResult> {
  const database = await createDatabase(`chaos_${scenario.name}`);
  return runScenario(scenario, { ...options, databaseUrl: database.url });
}
