import { existsSync } from 'node:fs';
import { Command } from 'commander';
import type pg from 'pg';
import pc from 'picocolors';
import { didYouMean } from '../../config/suggestions.ts';
import { formatDuration } from '../../config/units.ts';
import { UserError } from '../../domain/errors.ts';
import type { Config } from '../../domain/rules.ts';
import {
  type LastAttempt,
  readLastAttempts,
  readOldestDue,
  readOpenBreakers,
} from '../../transport/postgres/destination-figures.ts';
import {
  disableDestination,
  enableDestination,
  readHeldDestinations,
} from '../../transport/postgres/destination-holds.ts';
import { readQueue } from '../../transport/postgres/status.ts';
import {
  type DestinationReport,
  type Facts,
  knownDestinations,
  outcomesOf,
  reportOf,
  retryInWords,
} from '../destination-report.ts';
import { type ConfigOptions, command, readConfig, readDatabaseUrl, withDatabase } from '../options.ts';
import { ago, span, table } from '../table.ts';

interface Options extends ConfigOptions {
  readonly json?: true;
  readonly reason?: string;
}

export function destinationsCommand(): Command {
  return new Command('destinations')
    .description('Where deliveries go: what waits there, and whether anything is sent')
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(disableCommand())
    .addCommand(enableCommand());
}

/** Without a file there is still what the database knows. */
async function withFacts<T>(options: Options, work: (pool: pg.Pool, facts: Facts) => Promise<T>): Promise<T> {
  const config = existsSync(options.config) ? await readConfig(options) : null;
  return withDatabase(await readDatabaseUrl(options), async (pool) => {
    const [held, queue, breakers] = await Promise.all([
      readHeldDestinations(pool),
      readQueue(pool),
      readOpenBreakers(pool),
    ]);
    const known = knownDestinations({ config, held, queue });
    return work(pool, { config, held, queue, breakers, oldestDue: await readOldestDue(pool, known) });
  });
}

function listCommand(): Command {
  return command('list', 'All of them: state, what is queued, where they lead').action(async (options: Options) => {
    const reports = await withFacts(options, async (_, facts) =>
      knownDestinations(facts).map((name) => reportOf(name, facts)),
    );
    if (options.json) return console.log(JSON.stringify(reports, null, 2));
    if (reports.length === 0) return console.log('No destinations.');
    const cells = reports.map((one) => [
      one.name,
      one.kind ?? 'not in the file',
      stateInWords(one),
      pendingInWords(one),
      one.oldest_due_at === null ? '–' : dueInWords(one.oldest_due_at),
      one.breakers.length === 0 ? '–' : [...new Set(one.breakers.map(({ state }) => state))].join(', '),
      one.address ?? '–',
    ]);
    console.log(table(['DESTINATION', 'KIND', 'STATE', 'PENDING', 'OLDEST DUE', 'BREAKERS', 'ADDRESS'], cells));
  });
}

function showCommand(): Command {
  return command('show', 'One: state, limits, what its answers mean, how it fares')
    .argument('<name>', 'its name in the file, or the literal URL')
    .action(async (name: string, options: Options) => {
      const shown = await withFacts(options, async (pool, facts) => {
        const report = reportOf(requireKnown(name, facts), facts);
        return { report, last: await readLastAttempts(pool, name), config: facts.config };
      });
      const { report, last, config } = shown;
      const destination = config?.destinations.get(name);
      if (!options.json) return console.log(describe(report, last, config));
      const outcomes = destination === undefined ? null : outcomesOf(destination);
      const all = {
        ...report,
        outcomes,
        actions: actionsOf(name, config),
        last_success: last.success,
        last_failure: last.failure,
      };
      console.log(JSON.stringify(all, null, 2));
    });
}

function disableCommand(): Command {
  return command('disable', 'Sends nothing more there; what is queued waits, also beyond restarts')
    .argument('<name>', 'its name in the file, or the literal URL')
    .option('--reason <text>', 'kept with it, for whoever looks')
    .action(async (name: string, options: Options) => {
      const reason = options.reason ?? null;
      const { changed, pending } = await withFacts(options, async (pool, facts) => {
        // Without the file nobody can say that the name is wrong.
        if (facts.config !== null) requireKnown(name, facts);
        const { pending: waiting } = reportOf(name, facts);
        return { changed: await disableDestination(pool, name, reason), pending: waiting };
      });
      if (options.json) return console.log(JSON.stringify({ destination: name, state: 'disabled', changed, pending }));
      const already = changed ? 'is disabled' : 'was disabled already';
      console.log(`${name} ${already}: ${waiting(pending)} until \`pg-observers destinations enable ${name}\`.`);
    });
}

function enableCommand(): Command {
  return command('enable', 'Sends there again; also ends a pause that the receiver asked for')
    .argument('<name>', 'its name in the file, or the literal URL')
    .action(async (name: string, options: Options) => {
      const { changed, pending } = await withFacts(options, async (pool, facts) => {
        const { pending: waiting } = reportOf(facts.config === null ? name : requireKnown(name, facts), facts);
        return { changed: await enableDestination(pool, name), pending: waiting };
      });
      if (options.json) return console.log(JSON.stringify({ destination: name, state: 'enabled', changed, pending }));
      console.log(changed ? `${name} is enabled: ${pending} queued.` : `${name} is not disabled, nor paused.`);
    });
}

const waiting = (count: number) => `${count} ${count === 1 ? 'delivery waits' : 'deliveries wait'}`;

function requireKnown(name: string, facts: Facts): string {
  const known = knownDestinations(facts);
  if (known.includes(name)) return name;
  const hint = didYouMean(name, known) ?? 'see `pg-observers destinations list`';
  throw new UserError(`There is no destination ${name}  (${hint})`, 2, { code: 'PGO-DESTINATION' });
}

function stateInWords({ state, paused_until: until }: DestinationReport): string {
  if (state === 'enabled') return state;
  if (state === 'disabled') return pc.red(state);
  return pc.yellow(until === null ? state : `paused for ${span(new Date(until).getTime() - Date.now())}`);
}

const pendingInWords = ({ pending, estimated }: DestinationReport) =>
  estimated && pending > 0 ? `~${pending}` : String(pending);

function dueInWords(at: string): string {
  const ms = new Date(at).getTime() - Date.now();
  return ms > 0 ? `in ${span(ms)}` : ago(at);
}

function actionsOf(name: string, config: Config | null): string[] {
  return [...(config?.observers.values() ?? [])].flatMap((observer) =>
    observer.actions.flatMap((action) => (action.destination.name === name ? [`${observer.name}/${action.name}`] : [])),
  );
}

type Last = { readonly success: LastAttempt | null; readonly failure: LastAttempt | null };

function describe(report: DestinationReport, last: Last, config: Config | null): string {
  const line = (name: string, value: unknown) => (value === null ? [] : [`${pc.dim(name.padEnd(16))} ${value}`]);
  const { limits } = report;
  const destination = config?.destinations.get(report.name);
  return [
    ...line('destination', report.name),
    ...line('kind', report.kind ?? 'not in the file'),
    ...line('address', report.address),
    ...line('state', stateInWords(report)),
    ...line('disabled', report.disabled_at === null ? null : `${ago(report.disabled_at)}, by ${whoInWords(report)}`),
    ...line('reason', report.reason),
    ...line('pending', pendingInWords(report)),
    ...line('retrying', report.retrying),
    ...line('oldest due', report.oldest_due_at === null ? null : dueInWords(report.oldest_due_at)),
    ...line('timeout', limits && formatDuration(limits.timeout_ms)),
    ...line('concurrency', limits?.concurrency ?? null),
    ...line('rate limit', limits && (limits.rate_limit ?? 'none')),
    ...line('retry', destination === undefined ? null : retryInWords(destination.retry)),
    ...line('retry_after_max', limits && formatDuration(limits.retry_after_max_ms)),
    ...line('circuit breaker', limits && breakerInWords(limits.circuit_breaker)),
    ...report.breakers.flatMap(({ tenant, state, host, pid }) =>
      line('breaker', `${state} at ${host} ${pid}${tenant === null ? '' : `, for tenant ${tenant}`}`),
    ),
    ...Object.entries(destination === undefined ? {} : outcomesOf(destination)).flatMap(([verdict, patterns]) =>
      line(verdict, patterns.length === 0 ? null : patterns.join(' ')),
    ),
    ...line('actions', actionsOf(report.name, config).join(', ') || null),
    ...line('last success', last.success && `${ago(last.success.started_at)}${statusInWords(last.success)}`),
    ...line('last failure', last.failure && `${ago(last.failure.started_at)}: ${last.failure.error_message}`),
  ].join('\n');
}

const whoInWords = ({ disabled_by: by }: DestinationReport) => (by === 'person' ? 'a person' : 'its receiver');
const statusInWords = ({ status }: LastAttempt) => (status === null ? '' : `, with ${status}`);

function breakerInWords(policy: NonNullable<DestinationReport['limits']>['circuit_breaker']): string {
  if (policy === null) return 'none';
  const { failure_rate: rate, minimum, window_ms: window, open_for_ms: open } = policy;
  return `opens for ${formatDuration(open)} when ${rate * 100} % of at least ${minimum} attempts fail within ${formatDuration(window)}`;
}
