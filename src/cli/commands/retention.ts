import { Command } from 'commander';
import type pg from 'pg';
import pc from 'picocolors';
import { UserError } from '../../domain/errors.ts';
import type { RetentionPolicy } from '../../domain/retention.ts';
import { formatSize } from '../../domain/size.ts';
import { openArchive } from '../../transport/archive/directory-archive.ts';
import { daysToMake, keepHouse } from '../../transport/postgres/housekeeping.ts';
import { type LogDays, readLogDays, whatHolds } from '../../transport/postgres/log-days.ts';
import {
  enforceRetention,
  type RetentionRun,
  type RetentionStep,
  totalBytes,
} from '../../transport/postgres/retention.ts';
import { stopSignal } from '../interruption.ts';
import { type ConfigOptions, command, readConfig, sessionUrl, withDatabase } from '../options.ts';
import { table } from '../table.ts';

interface Options extends ConfigOptions {
  readonly json?: true;
}

export function retentionCommand(): Command {
  return new Command('retention')
    .description('The days of log and history: what is there, and what is to go')
    .addCommand(showCommand())
    .addCommand(runCommand());
}

function showCommand(): Command {
  return command('show', 'Each day with its size, its rows (estimated), and what keeps it')
    .addHelpText('after', '\nExample:\n  pg-observers retention show')
    .action(async (options: Options) => {
      const config = await readConfig(options);
      const { retention } = config.settings;
      const shown = await withDatabase(sessionUrl(config), async (pool) => {
        const log = await readLogDays(pool);
        const days = [];
        // A day that has not ended is held by that.
        for (const day of log.days) days.push({ ...day, held: day.endedMs < 0 ? null : await whatHolds(pool, day) });
        return { ...log, days };
      });
      console.log(options.json ? showJson(shown, retention) : showText(shown, retention));
    });
}

interface Shown extends LogDays {
  readonly days: readonly (LogDays['days'][number] & { readonly held: string | null })[];
}

const state = ({ endedMs, held }: Shown['days'][number]): string => {
  if (held !== null) return held;
  return endedMs < -86_400_000 ? 'to come' : endedMs < 0 ? 'today' : '–';
};

function showText(log: Shown, policy: RetentionPolicy): string {
  const rows = (count: number | null) => (count === null ? '–' : `~${count}`);
  const cells = [
    ...log.days.map((day) => [day.name, formatSize(day.bytes), rows(day.rows), state(day)]),
    ...log.defaults.map(({ name, bytes, rows: count }) => [
      name,
      formatSize(bytes),
      rows(count),
      'what no day covers; never dropped',
    ]),
  ];
  const most = policy.maxBytes === null ? '' : ` of ${formatSize(policy.maxBytes)}`;
  const archive = policy.archive === null ? 'Nothing is archived.' : `Archive: ${policy.archive.directory}.`;
  return [
    table(['DAY', 'SIZE', 'ROWS', 'HELD BY'], cells),
    '',
    `Together ${formatSize(totalBytes(log))}${most}. Events are kept for ${days(policy.eventsMs)}, attempts for ${days(policy.attemptsMs)}. ${archive}`,
  ].join('\n');
}

const days = (ms: number): string => {
  const count = Math.round((ms / 86_400_000) * 10) / 10;
  return `${count} ${count === 1 ? 'day' : 'days'}`;
};

function showJson(log: Shown, policy: RetentionPolicy): string {
  return JSON.stringify(
    {
      days: log.days.map((day) => ({
        partition: day.name,
        table: day.table,
        day: day.day,
        bytes: day.bytes,
        estimated_rows: day.rows,
        ended: day.endedMs >= 0,
        held_by: day.held,
      })),
      defaults: log.defaults.map(({ name, bytes, rows }) => ({ partition: name, bytes, estimated_rows: rows })),
      bytes: totalBytes(log),
      max_bytes: policy.maxBytes,
      archive: policy.archive?.directory ?? null,
    },
    null,
    2,
  );
}

function runCommand(): Command {
  return command('run', 'Does now what an instance does each minute: makes the coming days, archives and drops')
    .option('--dry-run', 'only say what it would make and drop, and what keeps the rest')
    .addHelpText('after', '\nExample:\n  pg-observers retention run --dry-run')
    .action(async (options: Options & { readonly dryRun?: true }) => {
      const config = await readConfig(options);
      const { retention: policy } = config.settings;
      const archive = policy.archive === null ? null : openArchive(policy.archive.directory);
      const signal = stopSignal();
      const onStep = (step: RetentionStep) => {
        if (!options.json) console.log(stepText(step));
      };
      const run = await withDatabase(sessionUrl(config), async (pool) => {
        const { ahead, refused } = await makeDays(pool, policy, options.dryRun === true);
        if (!options.json) for (const day of ahead) console.log(aheadText(day));
        const done = await enforceRetention(pool, {
          policy,
          archive,
          signal,
          onStep,
          dryRun: options.dryRun === true,
        }).catch((error: unknown) => {
          throw signal.aborted ? new UserError('Stopped: the day that was at hand stays.') : error;
        });
        return { ...done, ahead, complaints: [...refused, ...done.complaints] };
      });
      if (options.json) console.log(runJson(run));
      else console.log(runText(run));
      if (run.complaints.length > 0) process.exitCode = 1;
    });
}

/** A day to come of which the partition was not there. */
interface DayAhead {
  readonly partition: string;
  /** `due`: a dry run would have made it. `busy`: another session had the table; the next minute tries again. */
  readonly result: 'made' | 'due' | 'busy';
}

async function makeDays(pool: pg.Pool, policy: RetentionPolicy, dryRun: boolean) {
  const missing = await daysToMake(pool);
  if (dryRun) return { ahead: missing.map((partition): DayAhead => ({ partition, result: 'due' })), refused: [] };
  const { refused } = await keepHouse(pool, policy);
  const left = await daysToMake(pool);
  const ahead = missing.map(
    (partition): DayAhead => ({ partition, result: left.includes(partition) ? 'busy' : 'made' }),
  );
  return { ahead, refused };
}

/** Names and sizes have their columns, though each line is printed as it comes. */
const columns = (partition: string, size: string) => `${partition.padEnd(17)}  ${size.padStart(8)}`;

const aheadText = ({ partition, result }: DayAhead): string =>
  `${columns(partition, '–')}  a day to come  ${{ made: 'made', due: 'to make', busy: 'not made yet: the table is in use' }[result]}`;

function stepText({ partition, bytes, because, result, why, archived }: RetentionStep): string {
  const past = because === 'age' ? 'past its time' : 'the log is too large';
  const what = { dropped: 'dropped', due: 'to drop', held: 'held', busy: 'in use', failed: pc.red('failed') }[result];
  const file = archived === null ? '' : `; archived in ${archived.file} (${archived.rows} rows)`;
  return `${columns(partition, formatSize(bytes))}  ${past}  ${what}${why === null ? '' : `: ${why}`}${file}`;
}

function runText({ steps, bytes, complaints }: RetentionRun): string {
  const lines = [
    ...(steps.length === 0 ? ['No day is due.'] : []),
    `Log and history take ${formatSize(bytes)}${steps.some(({ result }) => result === 'due') ? ' then' : ''}.`,
    ...complaints.map((complaint) => pc.yellow(complaint)),
  ];
  return lines.join('\n');
}

function runJson({ ahead, steps, bytes, complaints }: RetentionRun & { readonly ahead: readonly DayAhead[] }): string {
  return JSON.stringify({ ahead, steps, bytes, complaints }, null, 2);
}
