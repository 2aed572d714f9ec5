import type pg from 'pg';
import { UserError } from '../../domain/errors.ts';
import type { Config } from '../../domain/rules.ts';
import { applyCapture, type PlanStep, planCapture } from './capture-plan.ts';

/**
 * What differs between the file and the triggers in the database, in words. New partitions get their triggers unasked when
 * `repair` permits it; anything else may be somebody's intention, and is only reported.
 */
export async function captureDrift(pool: pg.Pool, config: Config, repair: boolean): Promise<readonly string[]> {
  try {
    const { steps } = await planCapture(pool, config);
    if (!repair || !steps.some(isPart)) return steps.map(inWords);
    await applyCapture(pool, config, undefined, isPart);
    return steps.filter((step) => !isPart(step)).map(inWords);
  } catch (error) {
    // A table that was dropped or renamed: readiness says so, and the other sources go on.
    if (error instanceof UserError) return error.message.split('\n');
    throw error;
  }
}

const isPart = (step: PlanStep) => step.kind === 'create' && step.reason.startsWith('missing on a part');
const inWords = (step: PlanStep) => `${step.subject}: ${step.reason}`;
