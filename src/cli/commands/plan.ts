import type { Command } from 'commander';
import { type PlanStep, planCapture } from '../../transport/postgres/capture-plan.ts';
import { type ConfigOptions, command, readConfig, sessionUrl, withDatabase } from '../options.ts';

export function planCommand(): Command {
  return command('plan', 'Shows the exact SQL that apply would run, and why; changes nothing').action(
    async (options: ConfigOptions & { json?: true }) => {
      const config = await readConfig(options);
      const { steps } = await withDatabase(sessionUrl(config), (pool) => planCapture(pool, config));
      if (options.json) console.log(JSON.stringify({ steps }, null, 2));
      else console.log(printPlan(steps));
    },
  );
}

/** SQL that psql could run, with the reasons as comments. */
function printPlan(steps: readonly PlanStep[]): string {
  if (steps.length === 0) return 'Nothing to do: the database is as the rules say.';
  const parts = steps.map((step) => `-- ${describeStep(step)}\n${step.sql.trim()};`);
  const change = steps.length === 1 ? '1 step' : `${steps.length} steps`;
  return `${parts.join('\n\n')}\n\n-- ${change}; run \`pg-observers apply\` to take ${steps.length === 1 ? 'it' : 'them'}.`;
}

export function describeStep(step: PlanStep): string {
  const locks = step.locks === null ? '' : ` (writers of ${step.locks} wait for a moment)`;
  const verb = step.kind === 'migrate' ? 'apply' : step.kind;
  return `${verb} ${step.subject}: ${step.reason}${locks}`;
}
