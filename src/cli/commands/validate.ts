import { Command } from 'commander';
import { ConfigError } from '../../domain/errors.ts';
import type { Config } from '../../domain/rules.ts';
import { configOption, jsonOption, readConfig, sessionUrl, withDatabase } from '../options.ts';

interface Options {
  readonly config: string;
  readonly database?: string | true;
  readonly json?: true;
}

export function validateCommand(): Command {
  return new Command('validate')
    .alias('validate-config')
    .description('Checks the rules; with --database, also against its tables')
    .argument('[file]', 'the rules, instead of --config')
    .addOption(configOption())
    .option(
      '-d, --database [url]',
      'also check tables, columns and SQL against this database, or the one the file names',
    )
    .addOption(jsonOption())
    .action(async (file: string | undefined, options: Options) => {
      const config = file ?? options.config;
      try {
        await validate(config, options);
      } catch (error) {
        if (!options.json || !(error instanceof ConfigError)) throw error;
        console.log(JSON.stringify({ valid: false, code: error.code, problems: error.problems }, null, 2));
        process.exitCode = 2;
      }
    });
}

async function validate(file: string, options: Options): Promise<void> {
  const url = typeof options.database === 'string' ? { database: options.database } : {};
  const config = await readConfig({ config: file, ...url });
  if (options.database !== undefined) {
    const { planCapture } = await import('../../transport/postgres/capture-plan.ts');
    await withDatabase(sessionUrl(config), (pool) => planCapture(pool, config));
  }
  if (options.json) console.log(JSON.stringify({ valid: true, ...counts(config), version: config.version }, null, 2));
  else console.log(`${file} is valid: ${countsInWords(config)}.`);
}

function counts(config: Config) {
  const { sources, observers, destinations } = config;
  return { sources: sources.size, observers: observers.size, destinations: destinations.size };
}

/** `1 source, 2 observers, 1 destination` */
export function countsInWords(config: Config): string {
  return Object.entries(counts(config))
    .map(([what, count]) => `${count} ${count === 1 ? what.slice(0, -1) : what}`)
    .join(', ');
}
