import type { EventFilter, EventRecord } from '../../domain/event.ts';
import { listArchive, readDay } from './day-reader.ts';

/** `before`: only events with a smaller number in the log. */
export type ArchiveFilter = EventFilter & { readonly before?: string | undefined };

/**
 * Newest first. Files are read from their beginning, one at a time, and of each only the last `limit` events that match
 * are kept: that many are in memory, and no more.
 * @throws ArchiveError when a file is damaged, as soon as that is known
 */
export async function* archivedEvents(
  directory: string,
  filter: ArchiveFilter,
  limit: number,
): AsyncGenerator<EventRecord> {
  const files = (await listArchive(directory)).filter((file) => file.table === 'events' && mayHold(file.day, filter));
  let left = limit;
  for (const { file } of files.reverse()) {
    if (left === 0) return;
    const found: EventRecord[] = [];
    for await (const line of readDay(file)) {
      const event = parseEvent(line);
      if (!matches(event, filter)) continue;
      found.push(event);
      // Now and then, for shifting one by one would move the others each time.
      if (found.length >= 2 * left + 100) found.splice(0, found.length - left);
    }
    const newest = found.slice(-left).reverse();
    yield* newest;
    left -= newest.length;
  }
}

const dayMs = 86_400_000;

function mayHold(day: string, { since, until }: ArchiveFilter): boolean {
  const begins = Date.parse(day);
  return (
    (since === undefined || Date.parse(since) < begins + dayMs) && (until === undefined || Date.parse(until) > begins)
  );
}

/** What `eventJson` writes in front of the images. In a value its quotes would be escaped. */
const boundary = ', "old": ';

/** The other way round than `eventJson`: images stay text, digit for digit. */
function parseEvent(line: string): EventRecord {
  const end = line.indexOf(boundary);
  const { table_schema: schema, created_at: at, ...plain }: Plain = JSON.parse(`${line.slice(0, end)}}`);
  const images = membersOf(line, end + 2);
  const image = (name: string) => (images.get(name) === 'null' ? null : (images.get(name) ?? null));
  return {
    ...plain,
    schema,
    at,
    old: image('old'),
    new: image('new'),
    payload: image('payload'),
    context: image('context'),
  };
}

type Plain = Omit<EventRecord, 'schema' | 'at' | 'old' | 'new' | 'payload' | 'context'> & {
  readonly table_schema: string | null;
  readonly created_at: string;
};

/** A string, or what opens, closes or parts members. */
const token = /"(?:[^"\\]|\\.)*"|[{}[\],]/g;

/** The members of an object as text, from the one that begins at `from` to the end of the object. */
function membersOf(json: string, from: number): Map<string, string> {
  const members = new Map<string, string>();
  let begun = from;
  let depth = 0;
  const pattern = new RegExp(token);
  pattern.lastIndex = from;
  for (let match = pattern.exec(json); match !== null; match = pattern.exec(json)) {
    const [text] = match;
    if (depth === 0 && (text === ',' || text === '}')) {
      const [, name = '', value = ''] = /^\s*"(\w+)": ([\s\S]*)$/.exec(json.slice(begun, match.index)) ?? [];
      members.set(name, value);
      begun = match.index + 1;
    } else if (text === '{' || text === '[') depth += 1;
    else if (text === '}' || text === ']') depth -= 1;
  }
  return members;
}

function matches(head: EventRecord, filter: ArchiveFilter): boolean {
  const same = (wanted: string | undefined, value: string | null) => wanted === undefined || wanted === value;
  return (
    same(filter.source, head.source) &&
    same(filter.operation, head.operation) &&
    same(filter.key, head.key) &&
    same(filter.tenant, head.tenant) &&
    (filter.since === undefined || Date.parse(head.at) >= Date.parse(filter.since)) &&
    (filter.until === undefined || Date.parse(head.at) < Date.parse(filter.until)) &&
    (filter.before === undefined || BigInt(head.id) < BigInt(filter.before))
  );
}
