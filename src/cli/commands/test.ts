import { stat, writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { UserError } from '../../domain/errors.ts';
import { type EventId, readEvent } from '../../transport/postgres/event-history.ts';
import {
  type ConfigOptions,
  configOption,
  databaseOption,
  jsonOption,
  readConfig,
  sessionUrl,
  withDatabase,
} from '../options.ts';
import { absent, eventId } from './explain.ts';

interface Options extends ConfigOptions {
  readonly json?: true;
  readonly filter?: string;
  readonly junit?: string;
  readonly fromEvent?: EventId;
}

export function testCommand(): Command {
  const command = new Command('test')
    .description('Runs tests of the rules: which observers fire on an event, and what they send. Needs no database')
    .argument('[file]', 'the tests', 'observers.test.yaml')
    .addOption(configOption())
    .option('--filter <text>', 'only tests with this in their names')
    .option('--junit <file>', 'also write the results as JUnit XML')
    .option('--from-event <event-id>', 'print a test made of a real event instead; its data may be personal', eventId)
    .addOption(databaseOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  pg-observers test observers.test.yaml --filter refund --junit results.xml
  pg-observers test --from-event 42 >> observers.test.yaml`,
    );
  return command.action(async (file: string, options: Options) => {
    if (options.fromEvent !== undefined) return printTest(options.fromEvent, file, options);
    // What the tests name, unless somebody names another.
    const rules = command.getOptionValueSource('config') === 'default' ? undefined : options.config;
    await runTests(file, rules, options);
  });
}

async function runTests(file: string, rules: string | undefined, { filter, junit, json }: Options): Promise<void> {
  const [{ loadRuleTests }, { runTest }, { RuleIndex }, print] = await Promise.all([
    import('../../config/rule-tests/read.ts'),
    import('../../rehearsal/rule-test.ts'),
    import('../../pipeline/decide/rule-index.ts'),
    import('../test-results.ts'),
  ]);
  const { config, tests } = await loadRuleTests(file, rules);
  const wanted = tests.filter(({ name }) => filter === undefined || name.toLowerCase().includes(filter.toLowerCase()));
  if (wanted.length === 0) throw new UserError(`No test of ${file} has ${JSON.stringify(filter)} in its name.`, 2);
  const index = new RuleIndex(config);
  const results = [];
  for (const test of wanted) results.push(await runTest(test, config, index));
  if (junit !== undefined) {
    const { junitXml } = await import('../../rehearsal/junit.ts');
    await writeFile(junit, junitXml(file, results, print.failureText)).catch((error: NodeJS.ErrnoException) => {
      throw new UserError(`can't write ${junit}: ${error.code ?? error.message}`, 2, {
        cause: error,
        code: 'PGO-FILE',
      });
    });
  }
  console.log(json ? print.resultsJson(file, results) : print.resultsText(file, results));
  if (results.some(({ failures }) => failures.length > 0)) process.exitCode = 1;
}

/** Into a file that is not there yet, or was just made by `>`, goes a whole one; behind others goes another test. */
async function printTest(id: EventId, file: string, options: Options): Promise<void> {
  const config = await readConfig(options);
  const event = await withDatabase(sessionUrl(config), (pool) => readEvent(pool, id));
  if (event === null) throw absent(id, config);
  const { testOfEvent } = await import('../../rehearsal/test-of-event.ts');
  const tests = await stat(file).catch(() => null);
  console.log(`${tests === null || tests.size === 0 ? 'version: 1\ntests:\n' : ''}${testOfEvent(event, config)}`);
}
