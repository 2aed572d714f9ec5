import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import pc from 'picocolors';
import { didYouMean } from '../../config/suggestions.ts';
import type { Finding, Verdict } from '../../doctor/finding.ts';
import { ConfigError, formatProblem, UserError } from '../../domain/errors.ts';
import type { Config, Destination } from '../../domain/rules.ts';
import { redactUrl } from '../../transport/postgres/failures.ts';
import { confirm } from '../confirm.ts';
import { type ConfigOptions, command, readConfig, sessionUrl, withDatabase } from '../options.ts';
import { countsInWords } from './validate.ts';

interface Options extends ConfigOptions {
  readonly json?: true;
  readonly destination?: readonly string[];
  readonly sendTest?: true;
  readonly to?: string;
  readonly channel?: string;
  readonly yes?: true;
}

export function doctorCommand(): Command {
  return command('doctor', 'Checks file, database, installation and destinations, and says what to do')
    .option('--destination <name...>', 'check these destinations and nothing else')
    .option('--send-test', 'also send each destination a delivery that says that it is a test')
    .option('--to <address>', 'where a test by mail goes; default: to the sender')
    .option('--channel <channel>', 'where a test by Slack goes, for a token')
    .option('-y, --yes', 'send the tests without asking')
    .action(doctor);
}

async function doctor(options: Options): Promise<void> {
  const read = await configuration(options);
  const wanted = destinationsOf(read.config, options.destination);
  if (options.sendTest) await confirm(question(wanted), { ...options, otherwise: 'pass --yes to send them' });
  // Neither waits for the other: a database that is away takes seconds, and so does a destination.
  const [database, destinations] = await Promise.all([
    options.destination === undefined ? checkDatabase(read.config, options) : [],
    Promise.all(wanted.map((destination) => checkDestination(destination, options))),
  ]);
  const { createRedactor } = await import('../../actions/redaction.ts');
  const redact = createRedactor(read.config?.secrets ?? []);
  const all = [...(options.destination === undefined ? read.findings : []), ...database, ...destinations.flat()].map(
    (finding) => ({ ...finding, message: redact(finding.message) }),
  );
  report(all, options.json === true);
  if (all.some(({ level }) => level === 'problem')) process.exitCode = 1;
}

interface Read {
  /** null: there is none that could be used. */
  readonly config: Config | null;
  readonly findings: readonly Finding[];
}

/** A file with mistakes is a finding; what doesn't need it is checked all the same. */
async function configuration(options: Options): Promise<Read> {
  const found = (verdict: Verdict): Finding => ({ area: 'configuration', check: 'rules', ...verdict });
  try {
    const config = await readConfig(options);
    return {
      config,
      findings: [found({ level: 'ok', message: `${options.config} is valid: ${countsInWords(config)}`, remedy: null })],
    };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const messages = error instanceof ConfigError ? error.problems.map(formatProblem) : [error.message];
    const remedy = existsSync(options.config)
      ? 'correct the file; `pg-observers validate` checks it'
      : 'write one: `pg-observers init`';
    return { config: null, findings: messages.map((message) => found({ level: 'problem', message, remedy })) };
  }
}

function destinationsOf(config: Config | null, names: readonly string[] | undefined): readonly Destination[] {
  const all = [...(config?.destinations.values() ?? [])];
  if (names === undefined) return all;
  return names.map((name) => {
    const destination = config?.destinations.get(name);
    if (destination !== undefined) return destination;
    const hint =
      didYouMean(
        name,
        all.map((one) => one.name),
      ) ?? 'see `pg-observers destinations list`';
    throw new UserError(`There is no destination ${name}  (${hint})`, 2, { code: 'PGO-DESTINATION' });
  });
}

function question(destinations: readonly Destination[]): string {
  const names = destinations.map(({ name, kind }) => `${name} (${kind})`).join(', ');
  return `A test delivery goes to ${destinations.length === 0 ? 'nobody, as there are no destinations' : names}.`;
}

async function checkDatabase(config: Config | null, options: Options): Promise<readonly Finding[]> {
  const url = databaseUrl(config, options);
  if (url === null) return [unreached('there is no database to look at', 'set DATABASE_URL, or pass --database')];
  const { gatherDatabaseFacts } = await import('../../doctor/gather.ts');
  const { judgeDatabase } = await import('../../doctor/database.ts');
  try {
    const facts = await withDatabase(url, (pool) => gatherDatabaseFacts(pool, url, config));
    const reached: Finding = {
      area: 'database',
      check: 'reachable',
      level: 'ok',
      message: redactUrl(url),
      remedy: null,
    };
    return [reached, ...judgeDatabase(facts)];
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return [unreached(error.message, 'start the server, or correct `database:` and what is between here and there')];
  }
}

const unreached = (message: string, remedy: string): Finding => ({
  area: 'database',
  check: 'reachable',
  level: 'problem',
  message,
  remedy,
});

function databaseUrl(config: Config | null, { database }: Options): string | null {
  if (config !== null) return sessionUrl(config);
  return database ?? (process.env.PG_OBSERVERS_DIRECT_DATABASE || process.env.DATABASE_URL || null);
}

async function checkDestination(destination: Destination, options: Options): Promise<readonly Finding[]> {
  const { tryDestination } = await import('../../doctor/destinations/try-destination.ts');
  const { judgeDestination } = await import('../../doctor/checks/destination.ts');
  const found = (verdict: Verdict): Finding => ({ area: 'destinations', check: destination.name, ...verdict });
  const tried = found(judgeDestination(await tryDestination(destination)));
  if (!options.sendTest || tried.level === 'problem') return [tried];
  const { sendTest } = await import('../../doctor/send-test.ts');
  const sent = await sendTest(destination, { to: options.to ?? null, channel: options.channel ?? null });
  return [tried, found(sent)];
}

function report(findings: readonly Finding[], json: boolean): void {
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length;
  const [ok, warnings, problems] = [count('ok'), count('warning'), count('problem')];
  if (json) {
    console.log(JSON.stringify({ healthy: problems === 0, ok, warnings, problems, findings }, null, 2));
    return;
  }
  const width = Math.max(...findings.map(({ check }) => check.length));
  for (const area of new Set(findings.map((finding) => finding.area))) {
    console.log(pc.bold(`${area.slice(0, 1).toUpperCase()}${area.slice(1)}`));
    for (const finding of findings) if (finding.area === area) console.log(inWords(finding, width));
    console.log();
  }
  const plural = (n: number, word: string) => `${n} ${word}${n === 1 ? '' : 's'}`;
  console.log(`${ok} ok, ${plural(warnings, 'warning')}, ${plural(problems, 'problem')}.`);
}

const colours = { ok: pc.green, warning: pc.yellow, problem: pc.red } as const;

function inWords({ check, level, message, remedy }: Finding, width: number): string {
  const line = `  ${colours[level](level.padEnd(7))}  ${check.padEnd(width)}  ${message}`;
  return remedy === null ? line : `${line}\n  ${''.padEnd(7)}  ${''.padEnd(width)}  → ${remedy}`;
}
