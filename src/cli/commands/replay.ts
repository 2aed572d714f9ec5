import { type Command, InvalidArgumentError } from 'commander';
import type pg from 'pg';
import pc from 'picocolors';
import { UserError } from '../../domain/errors.ts';
import type { CompiledExpression } from '../../domain/expression.ts';
import type { Config, Observer } from '../../domain/rules.ts';
import type { ReplayCounts, ReplayEnd } from '../../pipeline/decide/replayer.ts';
import {
  beginReplay,
  listReplays,
  openReplayLog,
  planReplay,
  type ReplayRun,
  resumeReplay,
} from '../../transport/postgres/replay-runs.ts';
import { confirm } from '../confirm.ts';
import { stopSignal } from '../interruption.ts';
import { storedSource } from '../log-options.ts';
import {
  type ConfigOptions,
  command,
  moment,
  rate,
  readConfig,
  readDatabaseUrl,
  sessionUrl,
  withDatabase,
} from '../options.ts';
import { Progress } from '../progress.ts';
import { ago, table } from '../table.ts';
import { requireObserver } from './explain.ts';

interface Options extends ConfigOptions {
  readonly json?: true;
  readonly since?: string;
  readonly until?: string;
  readonly observer?: readonly string[];
  readonly where?: string;
  readonly rate?: { readonly count: number; readonly perMs: number };
  readonly dryRun?: true;
  readonly yes?: true;
  readonly resume?: string;
  readonly list?: true;
}

export function replayCommand(): Command {
  return command('replay', 'Routes past events again')
    .option('--since <time>', 'events captured since then: 2h, or 2026-11-20T12:00:00Z', moment)
    .option('--until <time>', 'and before then (default: now)', moment)
    .option('--observer <name...>', 'to these observers only (default: all)')
    .option('--where <expression>', 'only events for which it is true, as in `when`')
    .option('--rate <rate>', 'queue at most so many deliveries: 100/s', rate)
    .option('--dry-run', 'only count')
    .option('--yes', 'do not ask; nobody is asked without a terminal')
    .option('--resume <id>', 'go on with one that was interrupted', number)
    .option('--list', 'those that were begun, the newest first')
    .addHelpText(
      'after',
      `
Examples:
  pg-observers replay --since 2h --observer billing --dry-run
  pg-observers replay --since 2026-11-20T12:00:00Z --until 2026-11-20T13:00:00Z \\
    --observer billing --where 'new.total > 1000' --rate 100/s

The rules of the file decide anew, in the order of the log; what fires is queued,
and whoever runs delivers it. Event id and webhook-id are those of the first time:
a receiver that drops repeats drops these, too. Webhooks say webhook-replay: true.`,
    )
    .action(replay);
}

function number(text: string): string {
  if (!/^[1-9]\d{0,18}$/.test(text)) throw new InvalidArgumentError('Write the number that `replay --list` shows.');
  return text;
}

async function replay(options: Options): Promise<void> {
  if (options.list) return list(options);
  if (options.resume === undefined ? options.since === undefined : options.since !== undefined)
    throw new UserError('Give either --since or --resume (see --help).', 2);
  const config = await readConfig(options);
  for (const name of options.observer ?? []) await requireObserver(config, name);
  // Also of an observer that --resume finds in its table, so nothing is compiled or asked before it is known.
  await withDatabase(sessionUrl(config), async (pool) => {
    const { environment } = config.settings;
    const planned =
      options.resume === undefined
        ? await planReplay(pool, environment, requested(options, config))
        : await resumeReplay(pool, environment, options.resume);
    const job = await jobOf(planned, config, options);
    if (options.dryRun) return report(options, planned, await perform(pool, planned, job, true), true);
    if (process.stdin.isTTY && !options.yes) {
      const { counts } = await perform(pool, planned, job, true);
      await confirm(sentence(counts, 'would be queued'), { otherwise: 'pass --yes to do it' });
    }
    const run = planned.id === null ? await beginReplay(pool, planned) : planned;
    console.error(
      pc.dim(`Replay ${run.id}: when it is interrupted, \`pg-observers replay --resume ${run.id}\` goes on.`),
    );
    await report(options, run, await perform(pool, run, job, false), false);
  });
}

function requested(options: Options, config: Config) {
  const live = [...config.observers.values()].filter(({ mode }) => mode === 'live').map(({ name }) => name);
  return {
    since: options.since ?? '',
    until: options.until ?? null,
    observers: options.observer ?? live,
    condition: options.where ?? null,
    perSecond: perSecondOf(options),
  };
}

const perSecondOf = ({ rate: limit }: Options) => (limit === undefined ? null : (limit.count / limit.perMs) * 1_000);

interface Job {
  readonly config: Config;
  readonly observers: readonly Observer[];
  readonly where: CompiledExpression | null;
  readonly perSecond: number | null;
}

async function jobOf(run: ReplayRun, config: Config, options: Options): Promise<Job> {
  const observers: Observer[] = [];
  for (const name of run.observers) {
    await requireObserver(config, name);
    const observer = config.observers.get(name);
    if (observer?.mode === 'shadow')
      throw new UserError(`Observer ${name} is in shadow mode: it sends nothing, so there is nothing to replay.`, 2);
    if (observer !== undefined) observers.push(observer);
  }
  const { compileCondition, CompileError } = await import('../../expression/index.ts');
  try {
    const where = run.condition === null ? null : compileCondition(run.condition);
    return { config, observers, where, perSecond: perSecondOf(options) ?? run.per_second };
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    throw new UserError(`--where, at character ${error.offset + 1}: ${error.message}`, 2, { cause: error });
  }
}

type Ended = { readonly end: ReplayEnd; readonly counts: ReplayCounts };

async function perform(pool: pg.Pool, run: ReplayRun, job: Job, dryRun: boolean): Promise<Ended> {
  const { config, observers, where, perSecond } = job;
  const [{ replayEvents }, { RuleIndex }] = await Promise.all([
    import('../../pipeline/decide/replayer.ts'),
    import('../../pipeline/decide/rule-index.ts'),
  ]);
  const rules = new RuleIndex({ ...config, observers: new Map(observers.map((one) => [one.name, one])) });
  const sources = [...new Set(observers.map(({ source }) => storedSource(source.name, config) ?? source.name))];
  const progress = new Progress('events');
  const [from, to] = [Date.parse(run.since), Date.parse(run.until)];
  try {
    return await replayEvents(openReplayLog(pool, run, sources), {
      rules,
      where,
      perSecond,
      dryRun,
      signal: stopSignal(),
      onProgress: ({ events }, { at }) => progress.show((Date.parse(at) - from) / Math.max(1, to - from), events),
    });
  } finally {
    progress.end();
  }
}

function report(options: Options, run: ReplayRun, { end, counts }: Ended, dryRun: boolean): void {
  if (options.json) {
    const { byObserver, ...plain } = counts;
    const { events, matching, deliveries, faults, unclear } = plain;
    console.log(
      JSON.stringify({
        replay: run.id,
        dry_run: dryRun,
        state: end,
        events,
        matching,
        deliveries,
        faults,
        unclear,
        by_observer: Object.fromEntries(byObserver),
      }),
    );
  } else {
    console.log(sentence(counts, dryRun ? 'would be queued' : 'queued'));
  }
  if (end === 'finished') {
    if (!options.json && run.id !== null) console.log(pc.dim(`Replay ${run.id} is finished.`));
    return;
  }
  if (run.id === null) throw new UserError('Interrupted: not all were counted.', 1, { code: 'PGO-INTERRUPTED' });
  throw new UserError(
    end === 'overtaken'
      ? `Another process goes on with replay ${run.id}: this one stopped.`
      : `Interrupted: \`pg-observers replay --resume ${run.id}\` goes on where it stopped.`,
    1,
    { code: 'PGO-INTERRUPTED' },
  );
}

function sentence(counts: ReplayCounts, verb: string): string {
  const { events, deliveries, faults, unclear, byObserver } = counts;
  const each = [...byObserver].map(([observer, count]) => `  ${String(count).padStart(8)}  ${observer}`);
  return [
    `${events} ${events === 1 ? 'event' : 'events'}, ${deliveries} ${deliveries === 1 ? 'delivery' : 'deliveries'} ${verb}${deliveries === 0 ? '.' : ':'}`,
    ...each,
    ...(faults === 0 ? [] : [pc.yellow(`${faults} conditions could not be evaluated: dead letters (engine_fault).`)]),
    ...(unclear === 0 ? [] : [pc.yellow(`${unclear} events left out: --where could not be evaluated on them.`)]),
  ].join('\n');
}

async function list(options: Options): Promise<void> {
  const runs = await withDatabase(await readDatabaseUrl(options), (pool) => listReplays(pool));
  if (options.json) return console.log(JSON.stringify(runs, null, 2));
  if (runs.length === 0) return console.log('No replays.');
  const cells = runs.map((run) => [
    run.id ?? '',
    ago(run.started_at),
    run.finished_at === null ? 'not finished' : 'finished',
    run.events,
    run.deliveries,
    run.observers.join(' '),
  ]);
  console.log(table(['ID', 'BEGUN', 'STATE', 'EVENTS', 'DELIVERIES', 'OBSERVERS'], cells));
}
