import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'commander';
import type pg from 'pg';
import pc from 'picocolors';
import { UserError } from '../../domain/errors.ts';
import {
  countDeadLetters,
  type DeadLetterCause,
  type DeadLetterDetail,
  type DeadLetterFilter,
  deadLetterGroups,
  discardDeadLetter,
  listDeadLetters,
  retryDeadLetter,
  retryDeadLetters,
  showDeadLetter,
} from '../../transport/postgres/dead-letters.ts';
import { stopSignal } from '../interruption.ts';
import {
  type ConfigOptions,
  command,
  duration,
  identifier,
  positiveInteger,
  rate,
  readDatabaseUrl,
  withDatabase,
} from '../options.ts';
import { Progress } from '../progress.ts';
import { ago, table } from '../table.ts';

interface FilterOptions extends ConfigOptions {
  readonly json?: true;
  readonly observer?: string;
  readonly destination?: string;
  readonly tenant?: string;
  readonly error?: string;
  readonly since?: number;
  readonly limit?: number;
}

export function dlqCommand(): Command {
  return new Command('dlq')
    .description('Dead letters: what could not be delivered')
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(retryCommand())
    .addCommand(retryAllCommand())
    .addCommand(discardCommand())
    .addCommand(statsCommand());
}

function filtered(target: Command): Command {
  return target
    .option('--observer <name>', 'of this observer')
    .option('--destination <name>', 'for this destination')
    .option('--tenant <tenant>', 'of this tenant')
    .option('--error <text>', 'error class (http_503, timeout, …), reason, or a part of the message')
    .option('--since <duration>', 'died within the last 30m, 7d, …', duration);
}

function filterOf(options: FilterOptions): DeadLetterFilter {
  const { observer, destination, tenant, error, since, limit } = options;
  return { observer, destination, tenant, error, sinceMs: since, limit };
}

function listCommand(): Command {
  return filtered(command('list', 'The newest first'))
    .option('--limit <number>', 'at most so many', positiveInteger, 50)
    .action(async (options: FilterOptions) => {
      const url = await readDatabaseUrl(options);
      const [rows, count] = await withDatabase(url, async (pool) => [
        await listDeadLetters(pool, filterOf(options)),
        await countDeadLetters(pool, filterOf(options)),
      ]);
      if (options.json) return console.log(JSON.stringify(rows, null, 2));
      if (rows.length === 0) return console.log('No dead letters.');
      const cells = rows.map((row) => [
        row.id,
        ago(row.died_at),
        `${row.source}.${row.operation}${row.key === null ? '' : ` ${row.key}`}`,
        row.action === null ? row.observer : `${row.observer}/${row.action}`,
        row.destination ?? '–',
        String(row.attempts),
        `${row.replaying ? 'replaying' : row.reason}${row.holds_lane ? ', holds lane' : ''}`,
        row.error_message ?? '',
      ]);
      console.log(
        table(['ID', 'DIED', 'EVENT', 'OBSERVER/ACTION', 'DESTINATION', 'ATTEMPTS', 'REASON', 'ERROR'], cells),
      );
      if (count > rows.length) console.log(pc.dim(`… and ${count - rows.length} more: raise --limit, or filter.`));
    });
}

function showCommand(): Command {
  return command('show', 'One of them, whole: the event, the request, the answer')
    .argument('<id>', 'its number in `dlq list`', identifier)
    .action(async (id: string, options: FilterOptions) => {
      const row = await withDatabase(await readDatabaseUrl(options), (pool) => showDeadLetter(pool, id));
      if (row === null) throw absent(id);
      console.log(options.json ? printJson(row) : describe(row));
    });
}

/** As `events show` has it: in UTC, whatever the session's zone. */
const instant = (timestamp: string): string => new Date(timestamp).toISOString();

/** Event and request are spliced in as they are stored: numbers keep their digits. */
function printJson({ event, request, ...row }: DeadLetterDetail): string {
  return `${JSON.stringify(row, null, 2).slice(0, -2)},\n  "event": ${event},\n  "request": ${request ?? 'null'}\n}`;
}

function describe(row: DeadLetterDetail): string {
  const line = (name: string, value: unknown) => (value === null ? [] : [`${pc.dim(name.padEnd(14))} ${value}`]);
  return [
    ...line('dead letter', row.id),
    ...line('event', `${row.event_uid}  ${row.source}.${row.operation}`),
    ...line('key', row.key),
    ...line('tenant', row.tenant),
    ...line('observer', row.action === null ? `${row.observer} (its condition)` : `${row.observer}/${row.action}`),
    ...line('destination', row.destination),
    ...line('reason', row.reason),
    ...line('error', row.error_class),
    ...line('message', row.error_message),
    ...line('http status', row.http_status),
    ...line('answer', row.response_excerpt),
    ...line('attempts', row.attempts),
    ...line('first attempt', row.first_attempt_at === null ? null : instant(row.first_attempt_at)),
    ...line('died', `${instant(row.died_at)} (${ago(row.died_at)})`),
    ...line('rule version', row.rule_version),
    ...line('replays', row.replays === 0 ? 0 : `${row.replays}, the last ${ago(row.last_replayed_at)}`),
    ...line('ordered by', row.ordering_key),
    ...line(
      'holds lane',
      row.holds_lane ? `yes: ${row.waiting ?? 0} deliveries wait until it is replayed or discarded` : null,
    ),
    ...line('state', row.replaying ? 'a replay is on its way' : null),
    ...line('event data', row.event),
    ...line('request', row.request),
    '',
    `pg-observers dlq retry ${row.id}    sends it again`,
    `pg-observers dlq discard ${row.id}  removes it for good`,
  ].join('\n');
}

function retryCommand(): Command {
  return command('retry', 'Queues one for another try; it leaves when that succeeds')
    .argument('<id>', 'its number in `dlq list`', identifier)
    .action(async (id: string, options: FilterOptions) => {
      const queued = await withDatabase(await readDatabaseUrl(options), (pool) => retryDeadLetter(pool, id));
      if (queued === null) throw absent(id);
      if (options.json) return console.log(JSON.stringify({ id, queued }));
      console.log(
        queued ? `Dead letter ${id} is queued again.` : `A replay of dead letter ${id} is already on its way.`,
      );
    });
}

interface RetryAllOptions extends FilterOptions {
  readonly dryRun?: true;
  readonly rate?: { readonly count: number; readonly perMs: number };
}

function retryAllCommand(): Command {
  return filtered(command('retry-all', 'Queues all that match for another try, the oldest first'))
    .option('--limit <number>', 'at most so many', positiveInteger)
    .option('--dry-run', 'only count them')
    .option('--rate <rate>', 'queue no faster than 10/s, 600/m, …', rate)
    .action(async (options: RetryAllOptions) => {
      const url = await readDatabaseUrl(options);
      const filter = filterOf(options);
      const matching = Math.min(
        await withDatabase(url, (pool) => countDeadLetters(pool, filter)),
        options.limit ?? Number.POSITIVE_INFINITY,
      );
      if (options.dryRun) return report(options, { matching, queued: 0 }, `${letters(matching)} would be queued.`);
      const signal = stopSignal();
      const queued = await withDatabase(url, (pool) => retryInSteps(pool, filter, matching, options.rate, signal));
      report(options, { matching, queued }, `${letters(queued)} queued again.`);
      if (signal.aborted)
        throw new UserError('Interrupted: run it again for the rest, which are as they were.', 1, {
          code: 'PGO-INTERRUPTED',
        });
    });
}

/** Batches of at most a thousand, or of a tenth of a second's worth when there is a rate. @returns how many were queued */
async function retryInSteps(
  pool: pg.Pool,
  filter: DeadLetterFilter,
  total: number,
  limit: RetryAllOptions['rate'],
  signal: AbortSignal,
): Promise<number> {
  const perMs = limit === undefined ? Number.POSITIVE_INFINITY : limit.count / limit.perMs;
  const size = Math.max(1, Math.min(1_000, Math.floor(perMs * 100)));
  const progress = new Progress('dead letters');
  let queued = 0;
  let after: string | null = '0';
  while (queued < total && !signal.aborted) {
    const step: { queued: number; last: string | null } = await retryDeadLetters(
      pool,
      filter,
      Math.min(size, total - queued),
      after,
    );
    after = step.last;
    if (after === null) break;
    queued += step.queued;
    progress.show(queued / total, queued);
    if (queued < total) await sleep(step.queued / perMs, undefined, { signal }).catch(() => {});
  }
  progress.end();
  return queued;
}

function discardCommand(): Command {
  return command('discard', 'Removes one for good')
    .argument('<id>', 'its number in `dlq list`', identifier)
    .action(async (id: string, options: FilterOptions) => {
      const result = await withDatabase(await readDatabaseUrl(options), (pool) => discardDeadLetter(pool, id));
      if (result === 'absent') throw absent(id);
      if (result === 'replaying')
        throw new UserError(`A replay of dead letter ${id} is on its way: wait for its outcome.`, 1, {
          code: 'PGO-DEAD-LETTER',
        });
      report(options, { id, discarded: true }, `Dead letter ${id} is gone.`);
    });
}

function statsCommand(): Command {
  return command('stats', 'Counts by cause, the largest first')
    .addOption(
      new Option('--by <column>', 'group by one of them').choices(['observer', 'destination', 'error', 'reason']),
    )
    .action(async (options: FilterOptions & { by?: DeadLetterCause }) => {
      const groups = await withDatabase(await readDatabaseUrl(options), (pool) => deadLetterGroups(pool, options.by));
      if (options.json) return console.log(JSON.stringify(groups, null, 2));
      if (groups.length === 0) return console.log('No dead letters.');
      const cells = groups.map((group) => [
        group.dead_letters,
        ago(group.newest),
        ago(group.oldest),
        group.replays,
        group.cause,
      ]);
      console.log(table(['DEAD LETTERS', 'NEWEST', 'OLDEST', 'REPLAYS', 'CAUSE'], cells));
    });
}

const letters = (count: number) => `${count} dead ${count === 1 ? 'letter' : 'letters'}`;

const absent = (id: string) =>
  new UserError(
    `There is no dead letter ${id}: it was replayed or discarded, or never was. See \`pg-observers dlq list\`.`,
    1,
    { code: 'PGO-DEAD-LETTER' },
  );

function report(options: { json?: true }, value: object, text: string): void {
  console.log(options.json ? JSON.stringify(value) : text);
}
