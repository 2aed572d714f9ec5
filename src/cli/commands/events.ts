import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import pc from 'picocolors';
import { UserError } from '../../domain/errors.ts';
import type { EventRecord } from '../../domain/event.ts';
import { eventJson } from '../../domain/event-json.ts';
import { archivedEvents } from '../../transport/archive/archived-events.ts';
import { type EventId, readEventHistory } from '../../transport/postgres/event-history.ts';
import { LogFollower, listEvents } from '../../transport/postgres/event-log.ts';
import { eventHead, eventLine } from '../event-lines.ts';
import { stopSignal } from '../interruption.ts';
import { type FilterOptions, filtered, type LogOptions, openLog, readNames, tooLong } from '../log-options.ts';
import { command, moment, positiveInteger, withDatabase } from '../options.ts';
import { ago } from '../table.ts';
import { timeline } from '../timeline.ts';
import { indexCommand, searchCommand } from './events-search.ts';
import { eventId } from './explain.ts';

export function eventsCommand(): Command {
  return new Command('events')
    .description('The log: what was captured')
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(tailCommand())
    .addCommand(searchCommand())
    .addCommand(indexCommand());
}

function listCommand(): Command {
  return filtered(command('list', 'The newest first'))
    .option('--since <time>', 'captured since then: 2h, or 2026-11-20T12:00:00Z', moment)
    .option('--until <time>', 'captured before then', moment)
    .option('--limit <number>', 'at most so many', positiveInteger, 50)
    .option('--before <id>', 'only older ones than the event with this number: the next page', eventNumber)
    .option('--archive <directory>', 'of the files that retention wrote there, instead of the log')
    .addHelpText(
      'after',
      `
Examples:
  pg-observers events list --source orders --key 42 --since 1d
  pg-observers events list --archive /var/lib/pg-observers/archive --since 30d`,
    )
    .action(list);
}

interface ListOptions extends FilterOptions {
  readonly limit: number;
  readonly before?: string;
  readonly archive?: string;
}

async function list(options: ListOptions): Promise<void> {
  if (options.archive !== undefined) return listArchived(options, options.archive);
  const { url, filter, named } = await openLog(options);
  await withDatabase(url, async (pool) => {
    try {
      await print(listEvents(pool, filter, options.limit, { before: options.before ?? null }), named, options);
    } catch (error) {
      throw tooLong(error);
    }
  });
}

/** Without the database: it may be another one by now, or none. */
async function listArchived(options: ListOptions, directory: string): Promise<void> {
  const { filter, named } = await readNames(options);
  await print(archivedEvents(directory, { ...filter, before: options.before }, options.limit), named, options);
}

async function print(
  events: AsyncIterable<EventRecord>,
  named: (stored: EventRecord) => EventRecord,
  { json, limit }: ListOptions,
): Promise<void> {
  let count = 0;
  let last: EventRecord | null = null;
  if (json) process.stdout.write('[');
  for await (const stored of events) {
    last = named(stored);
    if (json) process.stdout.write(`${count === 0 ? '\n' : ',\n'}  ${eventJson(last)}`);
    else console.log(`${count === 0 ? `${eventHead()}\n` : ''}${eventLine(last)}`);
    count += 1;
  }
  if (json) return console.log(count === 0 ? ']' : '\n]');
  if (count === 0) return console.log('No events.');
  if (count === limit) console.log(pc.dim(`… perhaps more: --before ${last?.id}, or raise --limit.`));
}

function showCommand(): Command {
  return command('show', 'One event, whole, and what became of it')
    .argument('<event-id>', 'its uid, as receivers see it (`id` in the body), or its number in the log', eventId)
    .addHelpText('after', '\nExample:\n  pg-observers events show 4711\n\nWhy each observer fired or not: explain.')
    .action(async (id: EventId, options: LogOptions) => {
      const { url, named } = await openLog(options);
      const history = await withDatabase(url, (pool) => readEventHistory(pool, id));
      if (history === null) {
        throw new UserError(
          `Event ${'uid' in id ? id.uid : id.id} is not in the log, and no dead letter keeps a copy of it: it never was, or it is past retention.`,
          1,
          { code: 'PGO-EVENT' },
        );
      }
      const event = named(history.event);
      const routed = history.routed;
      if (options.json) return console.log(eventJson(event));
      console.log(`${describe(event, routed)}\n\n${timeline({ ...history, event })}`);
    });
}

function describe(event: EventRecord, routed: boolean | null): string {
  const line = (name: string, value: unknown) => (value === null ? [] : [`${pc.dim(name.padEnd(10))} ${value}`]);
  return [
    ...line('event', event.uid),
    ...line('number', event.id),
    ...line('what', `${event.source}.${event.operation}`),
    ...line('table', event.table === null ? null : `${event.schema}.${event.table}`),
    ...line('key', event.key),
    ...line('tenant', event.tenant),
    ...line('captured', `${event.at} (${ago(event.at)})`),
    ...line('routed', routed === false ? 'not yet' : null),
    ...line('old', event.old),
    ...line('new', event.new),
    ...line('payload', event.payload),
    ...line('context', event.context),
  ].join('\n');
}

/** Between two looks that found nothing. */
const lookMs = 300;

function tailCommand(): Command {
  return filtered(command('tail', 'Each event as it commits, until Ctrl-C; with --json a line each'))
    .option('-n, --lines <number>', 'begin with so many that are there already', count, 10)
    .addHelpText('after', '\nExample:\n  pg-observers events tail --source orders')
    .action(async (options: FilterOptions & { lines: number }) => {
      const { url, filter, named } = await openLog(options);
      const signal = stopSignal();
      const tell = (events: readonly EventRecord[]) => {
        for (const stored of events) console.log(options.json ? eventJson(named(stored)) : eventLine(named(stored)));
      };
      await withDatabase(url, async (pool) => {
        const follower = new LogFollower(pool, filter);
        if (!options.json) console.log(eventHead());
        tell(await follower.begin(options.lines));
        while (!signal.aborted) {
          const events = await follower.next();
          tell(events);
          if (events.length === 0) await sleep(lookMs, undefined, { signal }).catch(() => {});
        }
      });
    });
}

function eventNumber(text: string): string {
  if (!/^[1-9]\d{0,18}$/.test(text))
    throw new InvalidArgumentError('Write the number of an event, as `events list` shows it.');
  return text;
}

const count = (text: string) => (text === '0' ? 0 : positiveInteger(text));
