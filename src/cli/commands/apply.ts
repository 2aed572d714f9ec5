import type { Command } from 'commander';
import { applyCapture } from '../../transport/postgres/capture-plan.ts';
import { type ConfigOptions, command, readConfig, sessionUrl, withDatabase } from '../options.ts';
import { describeStep } from './plan.ts';

export function applyCommand(): Command {
  return command('apply', 'Migrates the database, and creates, replaces and drops triggers as the rules say').action(
    async (options: ConfigOptions & { json?: true }) => {
      const config = await readConfig(options);
      const steps = await withDatabase(sessionUrl(config), (pool) =>
        applyCapture(pool, config, (step) => {
          if (!options.json) console.log(describeStep(step));
        }),
      );
      if (options.json) console.log(JSON.stringify({ steps }, null, 2));
      else if (steps.length === 0) console.log('Nothing to do: the database is as the rules say.');
      else console.log(`Done: ${steps.length} ${steps.length === 1 ? 'step' : 'steps'}.`);
    },
  );
}
