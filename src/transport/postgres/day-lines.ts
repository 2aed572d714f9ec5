import type pg from 'pg';
import { eventJson } from '../../domain/event-json.ts';
import type { LogDay } from '../../domain/retention.ts';
import { bytesOf, type EventRow, eventBytes, eventColumns, toEventRecord } from './event-row.ts';

const rowsPerPage = 2_000;
/** Of a page in memory, about; a single row may be larger. */
const bytesPerPage = 8 * 1024 * 1024;

/**
 * The rows of a day as JSON lines, by id. Page by page along the primary key: a cursor would hold one snapshot for as long
 * as it takes, and keep the queue from being vacuumed.
 */
export async function* dayLines(client: pg.PoolClient, { name, table }: LogDay): AsyncGenerator<string> {
  const query = table === 'events' ? eventsPage(name) : attemptsPage(name);
  const line = table === 'events' ? (row: Row) => eventLine(row as ArchivedEventRow) : (row: Row) => row.line ?? '';
  for (let after = '-9223372036854775808'; ; ) {
    const { rows } = await client.query<Row>(query, [after, rowsPerPage, bytesPerPage]);
    yield* rows.map(line);
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.event_id;
  }
}

interface Row {
  readonly event_id: string;
  readonly line?: string;
}

interface ArchivedEventRow extends EventRow {
  readonly dedupe_key: string | null;
  readonly capture_error: string | null;
}

/** As `events show --json` prints it, and what else the log knows. */
function eventLine(row: ArchivedEventRow): string {
  const { dedupe_key, capture_error } = row;
  const rest = { ...(dedupe_key !== null && { dedupe_key }), ...(capture_error !== null && { capture_error }) };
  const json = eventJson(toEventRecord(row));
  return Object.keys(rest).length === 0 ? json : `${json.slice(0, -1)}, ${JSON.stringify(rest).slice(1)}`;
}

/** Sizes first: values are unpacked only of the rows that make the page. The name is one of ours: letters, digits and underscores. */
const page = (name: string, bytes: string): string => `
  (select * from (
     select sized.*, sum(sized.bytes) over (order by sized.id) - sized.bytes as before
     from (select r.*, ${bytes} as bytes from observers.${name} r where r.id > $1::bigint order by r.id limit $2) sized
   ) summed where summed.before <= $3::float8)`;

const eventsPage = (name: string): string => `
select ${eventColumns('e')}, e.dedupe_key, e.capture_error from ${page(name, eventBytes('r'))} e order by e.id`;

const attemptsPage = (name: string): string => `
select e.id::text as event_id, (to_jsonb(e) - 'bytes' - 'before')::text as line
from ${page(name, bytesOf('r.request'))} e order by e.id`;
