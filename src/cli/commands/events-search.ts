import { Command, Option } from 'commander';
import pc from 'picocolors';
import { UserError } from '../../domain/errors.ts';
import { eventJson } from '../../domain/event-json.ts';
import { type Found, searchEvents, wordsOf } from '../../transport/postgres/event-search.ts';
import { createSearchIndex, dropSearchIndex } from '../../transport/postgres/search-index.ts';
import { eventHead, eventLine } from '../event-lines.ts';
import { type FilterOptions, filtered, openLog, tooLong } from '../log-options.ts';
import { command, duration, moment, positiveInteger, withDatabase } from '../options.ts';

interface Options extends FilterOptions {
  readonly limit: number;
  /** Milliseconds. */
  readonly timeout: number;
}

/** A day back, unless somebody says otherwise: without an index every event of that time is read. */
const usualMs = 86_400_000;

export function searchCommand(): Command {
  return filtered(command('search', 'Words in events, and in what receivers answered'))
    .argument('<words...>', 'all of them; also "one phrase", this or that, -without this')
    .option('--since <time>', 'captured, or attempted, since then (default: 1d)', moment)
    .option('--until <time>', 'and before then', moment)
    .option('--limit <number>', 'at most so many', positiveInteger, 20)
    .addOption(new Option('--timeout <duration>', 'give up after').argParser(duration).default(30_000, '30s'))
    .addHelpText(
      'after',
      `
Example:
  pg-observers events search 'acme refund' --source orders --since 7d

Whole words, in any case; of images, payloads and keys, and of the errors and
answers of attempts.`,
    )
    .action(search);
}

/** Off unless somebody wants it: it costs writers something. */
export function indexCommand(): Command {
  const create = command('create', 'Builds it beside writers; goes on where it was interrupted').action(
    async (options: FilterOptions) => {
      const { url } = await openLog(options);
      await withDatabase(url, (pool) =>
        createSearchIndex(pool, (table) => console.error(`building: observers.${table}`)),
      );
      console.log(options.json ? JSON.stringify({ index: 'created' }) : 'The index is there, also for days to come.');
    },
  );
  const drop = command('drop', 'Takes it away').action(async (options: FilterOptions) => {
    const { url } = await openLog(options);
    await withDatabase(url, dropSearchIndex);
    console.log(options.json ? JSON.stringify({ index: 'dropped' }) : 'There is no index any more.');
  });
  return new Command('index').description('An index for search: optional').addCommand(create).addCommand(drop);
}

async function search(words: readonly string[], options: Options): Promise<void> {
  const { url, filter, named } = await openLog(options);
  const since = filter.since ?? new Date(Date.now() - usualMs).toISOString();
  const text = words.join(' ');
  const found = await withDatabase(url, async (pool) => {
    if ((await wordsOf(pool, text)) === null) throw new UserError(`There is no word in ${JSON.stringify(text)}.`, 2);
    return searchEvents(pool, {
      ...filter,
      since,
      words: text,
      limit: options.limit,
      timeoutMs: options.timeout,
    }).catch((error: unknown) => {
      throw tooLong(error);
    });
  });
  const shown = found.map(({ event, attempt }) => ({ event: named(event), attempt }));
  if (options.json) {
    const items = shown.map(
      ({ event, attempt }) => `${eventJson(event).slice(0, -1)}, "attempt": ${JSON.stringify(attempt)}}`,
    );
    return console.log(items.length === 0 ? '[]' : `[\n  ${items.join(',\n  ')}\n]`);
  }
  if (shown.length > 0) console.log([eventHead(), ...shown.map(line)].join('\n'));
  const window = `events and attempts since ${since}${filter.until === undefined ? '' : ` until ${filter.until}`}`;
  const count = shown.length === options.limit ? `The newest ${shown.length}` : String(shown.length || 'Nothing');
  console.log(pc.dim(`${count} found. Looked through ${window}: --since looks further back.`));
}

function line({ event, attempt }: Found): string {
  if (attempt === null) return eventLine(event);
  const { observer, action, destination, outcome, error_message: error, response_excerpt: answer } = attempt;
  const said = (error ?? answer ?? '').replaceAll(/\s+/g, ' ');
  return `${eventLine(event)}\n            ${pc.dim(`${observer}/${action} → ${destination}  ${outcome}  ${said.slice(0, 200)}`)}`;
}
