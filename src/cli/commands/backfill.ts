import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type pg from 'pg';
import pc from 'picocolors';
import { UserError } from '../../domain/errors.ts';
import type { Config, TableSource } from '../../domain/rules.ts';
import {
  type Backfill,
  beginBackfill,
  listBackfills,
  readBackfill,
  readBackfillTable,
  writeChunk,
} from '../../transport/postgres/backfills.ts';
import { stopSignal } from '../interruption.ts';
import {
  type ConfigOptions,
  command,
  positiveInteger,
  rate,
  readConfig,
  readDatabaseUrl,
  sessionUrl,
  withDatabase,
} from '../options.ts';
import { Progress } from '../progress.ts';
import { ago, table } from '../table.ts';

interface Options extends ConfigOptions {
  readonly json?: true;
  readonly where?: string;
  readonly chunk: number;
  readonly rate?: { readonly count: number; readonly perMs: number };
  readonly resume?: true;
  readonly restart?: true;
  readonly list?: true;
}

export function backfillCommand(): Command {
  return command('backfill', 'Existing rows of a table source as `read` events')
    .argument('[source]', 'its name in the file')
    .option('--where <sql>', 'only these rows: SQL over the columns')
    .option('--chunk <rows>', 'rows of one transaction', positiveInteger, 1_000)
    .option('--rate <rate>', 'at most so many rows: 500/s', rate)
    .option('--resume', 'go on with the one that was interrupted')
    .option('--restart', 'begin anew, though one was interrupted')
    .option('--list', 'the last one of each source')
    .addHelpText(
      'after',
      `
Example:
  pg-observers backfill orders --where "status = 'open'" --rate 500/s

Only observers with \`on: [read]\` see them. Rows come in the order of the primary key;
no row is locked, and writers go on. Ctrl-C is no harm: --resume.`,
    )
    .action(async (source: string | undefined, options: Options) => {
      if (options.list) return list(options);
      if (source === undefined) throw new UserError('Name the source to backfill (see --help).', 2);
      return backfill(source, options);
    });
}

async function backfill(name: string, options: Options): Promise<void> {
  const config = await readConfig(options);
  const source = await tableSource(config, name);
  await withDatabase(sessionUrl(config), async (pool) => {
    const run = await chosenRun(pool, config, source, options);
    report(options, await perform(pool, config, source, run, options));
  });
}

async function tableSource(config: Config, name: string): Promise<TableSource> {
  const source = config.sources.get(name);
  if (source === undefined) {
    const { didYouMean } = await import('../../config/suggestions.ts');
    const hint = didYouMean(name, config.sources.keys());
    throw new UserError(`There is no source ${name} in ${config.file}.${hint === null ? '' : `  (${hint})`}`, 2);
  }
  if (source.kind !== 'table') throw new UserError(`Source ${name} is a ${source.kind}: only tables have rows.`, 2);
  const heard = [...config.observers.values()].some((one) => one.source === source && one.on.includes('read'));
  if (!heard) {
    throw new UserError(
      `No observer of ${name} has \`on: [read]\`: nobody would see a backfill. Add \`read\` to the \`on\` of those that are to.`,
      2,
    );
  }
  return source;
}

async function chosenRun(pool: pg.Pool, config: Config, source: TableSource, options: Options): Promise<Backfill> {
  const shape = await readBackfillTable(pool, config.settings.environment, source);
  const last = await readBackfill(pool, source.name);
  const open = last !== null && last.finished_at === null ? last : null;
  if (options.resume) {
    if (open === null) throw new UserError(`No backfill of ${source.name} was interrupted.`);
    if (open.primary_key.join() !== shape.primaryKey.join())
      throw new UserError(`The primary key of ${source.name} is another one now: --restart begins anew.`);
    return open;
  }
  if (open !== null && !options.restart) {
    throw new UserError(
      `A backfill of ${source.name} was interrupted ${ago(open.started_at)}, or is running, at ${open.rows} rows: --resume goes on, --restart begins anew.`,
      1,
      { code: 'PGO-INTERRUPTED' },
    );
  }
  return beginBackfill(pool, source, shape, { condition: options.where ?? null, perSecond: perSecondOf(options) });
}

const perSecondOf = ({ rate: limit }: Options) => (limit === undefined ? null : (limit.count / limit.perMs) * 1_000);

type Ended = { readonly run: Backfill; readonly end: 'finished' | 'interrupted' | 'overtaken' };

async function perform(
  pool: pg.Pool,
  config: Config,
  source: TableSource,
  begun: Backfill,
  options: Options,
): Promise<Ended> {
  const shape = await readBackfillTable(pool, config.settings.environment, source);
  const signal = stopSignal();
  const progress = new Progress('rows');
  const perSecond = perSecondOf(options) ?? begun.per_second;
  const most = perSecond === null ? options.chunk : Math.max(1, Math.min(options.chunk, Math.floor(perSecond)));
  let run = begun;
  try {
    while (run.finished_at === null) {
      if (signal.aborted) return { run, end: 'interrupted' };
      const began = performance.now();
      const next = await writeChunk(pool, source, shape, run, most);
      if (next === null) return { run, end: 'overtaken' };
      const rows = Number(next.rows) - Number(run.rows);
      run = next;
      progress.show(Number(run.rows) / Math.max(1, Number(run.estimate), Number(run.rows)), Number(run.rows));
      const restMs = perSecond === null ? 0 : (rows / perSecond) * 1_000 - (performance.now() - began);
      if (restMs > 0 && run.finished_at === null) await sleep(restMs, undefined, { signal }).catch(() => {});
    }
    return { run, end: 'finished' };
  } finally {
    progress.end();
  }
}

function report(options: Options, { run, end }: Ended): void {
  const { source, rows, events } = run;
  if (options.json) console.log(JSON.stringify({ source, state: end, rows: Number(rows), events: Number(events) }));
  else console.log(`${rows} rows of ${source} read, ${events} events.`);
  if (end === 'overtaken')
    throw new UserError(`Another process goes on with the backfill of ${source}: this one stopped.`, 1, {
      code: 'PGO-INTERRUPTED',
    });
  if (end === 'interrupted')
    throw new UserError(`Interrupted: \`pg-observers backfill ${source} --resume\` goes on where it stopped.`, 1, {
      code: 'PGO-INTERRUPTED',
    });
}

async function list(options: Options): Promise<void> {
  const runs = await withDatabase(await readDatabaseUrl(options), listBackfills);
  if (options.json) return console.log(JSON.stringify(runs, null, 2));
  if (runs.length === 0) return console.log('No backfills.');
  const cells = runs.map((run) => [
    run.source,
    ago(run.started_at),
    run.finished_at === null ? pc.yellow('not finished') : 'finished',
    run.rows,
    run.events,
  ]);
  console.log(table(['SOURCE', 'BEGUN', 'STATE', 'ROWS', 'EVENTS'], cells));
}
