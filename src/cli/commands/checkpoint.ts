import { Command, InvalidArgumentError } from 'commander';
import type pg from 'pg';
import pc from 'picocolors';
import { parseDuration } from '../../config/units.ts';
import { UserError } from '../../domain/errors.ts';
import {
  adoptCluster,
  type CheckpointReport,
  previewReset,
  type ResetPreview,
  type ResetTarget,
  reportCheckpoint,
  resetCheckpoint,
  targetByTime,
  targetByUid,
} from '../../transport/postgres/checkpoint-reset.ts';
import { confirm } from '../confirm.ts';
import { type ConfigOptions, command, readDatabaseUrl, withDatabase } from '../options.ts';
import { ago, span, table } from '../table.ts';

type To =
  | { readonly kind: 'now' }
  | { readonly kind: 'event'; readonly id: string }
  | { readonly kind: 'uid'; readonly uid: string }
  | { readonly kind: 'time'; readonly ms: number };

interface Options extends ConfigOptions {
  readonly json?: true;
}

interface ResetOptions extends Options {
  readonly to?: To;
  readonly xidsPreserved?: true;
  readonly dryRun?: true;
  readonly yes?: true;
}

export function checkpointCommand(): Command {
  return new Command('checkpoint')
    .description('How far the log is routed, and how to set that anew')
    .addCommand(showCommand())
    .addCommand(resetCommand());
}

function showCommand(): Command {
  return command('show', 'Where it stands, how far behind, and what holds events back').action(
    async (options: Options) => {
      const report = await withDatabase(await readDatabaseUrl(options), reportCheckpoint);
      console.log(options.json ? JSON.stringify(report, null, 2) : describe(report));
    },
  );
}

function describe(report: CheckpointReport): string {
  const line = (name: string, value: string) => `${pc.dim(name.padEnd(14))} ${value}`;
  const oldest = report.oldest_unrouted;
  const lines = [
    line('snapshot', report.snapshot),
    line('target', report.target === null ? '–' : `${report.target}, up to event ${report.after_id}`),
    line('version', `${report.version}, ${ago(report.updated_at)}`),
    line('cluster', report.same_cluster ? report.system_identifier : otherCluster(report)),
    line('environment', report.environment ?? '–'),
    line('routed by', report.routed_by.map(({ host, pid }) => `${host} ${pid}`).join(', ') || pc.yellow('nobody')),
  ];
  if (!report.same_cluster) return lines.join('\n');
  const count = report.lag_events > 100_000 ? 'more than 100,000' : String(report.lag_events);
  lines.push(line('behind', report.lag_events === 0 ? '0 events' : `${count} events, ${span(report.lag_ms ?? 0)}`));
  if (oldest !== null) {
    lines.push(
      line(
        'oldest event',
        `${oldest.id}  ${oldest.uid}  ${oldest.source}.${oldest.operation}  ${ago(oldest.created_at)}`,
      ),
    );
  }
  if (report.held_back_by.length > 0) lines.push('', openTransactions(report));
  return lines.join('\n');
}

const otherCluster = (report: CheckpointReport) =>
  pc.red(`${report.system_identifier}, but this one is ${report.cluster_identifier}: see \`checkpoint reset --help\``);

function openTransactions({ held_back_by: open }: CheckpointReport): string {
  const cells = open.map((one) => [
    one.pid === null ? 'prepared' : String(one.pid),
    ago(one.since),
    one.user ?? '–',
    one.state ?? '–',
    one.gid ?? one.application ?? '–',
  ]);
  const head = 'Transactions that wrote events and have not ended (their events wait for them, and no others):';
  return `${head}\n${table(['PID', 'SINCE', 'USER', 'STATE', 'APPLICATION'], cells)}`;
}

function resetCommand(): Command {
  return command('reset', 'Sets it anew, after a restore or to route events again')
    .option('--to <time|event-id|now>', 'everything up to it counts as routed', parseTo)
    .option('--xids-preserved', 'after pg_upgrade: keep it, only for a new cluster')
    .option('--dry-run', 'only count what it would do')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      `
What counts as routed:
  --to now                       everything in the log
  --to 4711                      up to the event with this id
  --to 0190c8f4-…                up to the event with this uid
  --to 2026-11-20T12:00:00Z      up to this time; also 2h: two hours ago

Events after it are routed, and those routed before are routed again: receivers
see the same webhook-id, if their delivery led to the same action. What is
queued stays queued. Safe while instances run: the routing one begins anew.

After a restore into another cluster (pg_dump), choose --to. After pg_upgrade,
which keeps transaction ids, --xids-preserved is enough: nothing is repeated.`,
    )
    .action(reset);
}

function parseTo(text: string): To {
  if (text === 'now') return { kind: 'now' };
  if (/^\d{1,18}$/.test(text)) return { kind: 'event', id: text };
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return { kind: 'uid', uid: text };
  const ago = parseDuration(text);
  if (ago !== null) return { kind: 'time', ms: Date.now() - ago };
  const ms = /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:?\d\d)$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) {
    throw new InvalidArgumentError('Write now, an event id, an event uid, 2h, or 2026-11-20T12:00:00Z (with a zone).');
  }
  return { kind: 'time', ms };
}

async function reset(options: ResetOptions): Promise<void> {
  const { to } = options;
  if (options.xidsPreserved ? to !== undefined : to === undefined) {
    throw new UserError('Give either --to <time|event-id|now> or --xids-preserved (see --help).', 2);
  }
  const url = await readDatabaseUrl(options);
  if (to === undefined) return adopt(options, url);
  await withDatabase(url, async (pool) => {
    const target = await resolve(pool, to);
    const preview = await previewReset(pool, target);
    if (options.dryRun) return tell(options, target, preview, false);
    await confirm(sentence(target, preview, 'would'), { ...options, otherwise: 'pass --yes to do it, or --dry-run' });
    tell(options, target, await resetCheckpoint(pool, target), true);
  });
}

async function adopt(options: ResetOptions, url: string): Promise<void> {
  if (options.dryRun) throw new UserError('--xids-preserved routes nothing again: there is nothing to count.', 2);
  const adopted = await withDatabase(url, adoptCluster);
  if (options.json) return console.log(JSON.stringify({ adopted }));
  console.log(
    adopted
      ? 'The checkpoint is of this cluster now, and stands where it stood.'
      : 'The checkpoint is of this cluster already.',
  );
}

async function resolve(pool: pg.Pool, to: To): Promise<ResetTarget> {
  switch (to.kind) {
    case 'now':
      return { afterEvent: null };
    case 'event':
      return { afterEvent: to.id };
    case 'uid':
      return targetByUid(pool, to.uid);
    case 'time':
      return targetByTime(pool, to.ms);
  }
}

function tell(options: Options, target: ResetTarget, figures: ResetPreview, done: boolean): void {
  if (options.json) console.log(JSON.stringify({ after_event: target.afterEvent, ...figures, reset: done }, null, 2));
  else console.log(sentence(target, figures, done ? 'will' : 'would'));
}

function sentence({ afterEvent }: ResetTarget, figures: ResetPreview, would: 'would' | 'will'): string {
  const place = afterEvent === null ? 'Everything in the log' : `Everything up to event ${afterEvent}`;
  const known = figures.same_cluster
    ? `${events(figures.to_route)} ${would} be routed, ${figures.again} of them again; ${events(figures.skipped)} that ${figures.skipped === 1 ? 'is' : 'are'} not routed ${would} be skipped.`
    : `${events(figures.to_route)} ${would} be routed. Which were routed before the restore can't be known here.`;
  const queued = figures.queued === 0 ? '' : ` ${figures.queued} queued deliveries stay queued.`;
  return `${place} ${would === 'will' ? 'counts' : 'would count'} as routed: ${known}${queued}`;
}

const events = (count: number) => `${count} ${count === 1 ? 'event' : 'events'}`;
