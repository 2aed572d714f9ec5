/**
 * Many events as one row, a text for each column: as a row each, node-postgres and the garbage collector take longer for
 * their thirteen values than a few observers for their conditions.
 */
import type { EventRecord, JsonText, Operation } from '../../domain/event.ts';
import { isoUtc } from './event-row.ts';

/** What none of these holds: jsonb is printed on one line, with every control character escaped. */
const lines = (value: string) => `string_agg(coalesce(${value}::text, ''), E'\\n')`;

/** Select list over events in their order; names and keys hold what their owners like, and so go as JSON. */
export const pageColumns = (e: string): string => `
  ${lines(`${e}.id`)} as ids, ${lines(`${e}.uid`)} as uids, ${lines(`${e}.created_at`)} as times, ${lines(`${e}.operation`)} as operations,
  json_agg(${e}.source) as sources, json_agg(${e}.table_schema) as schemas, json_agg(${e}.table_name) as tables, json_agg(${e}.key) as keys,
  json_agg(${e}.tenant) as tenants, ${lines(`${e}.old`)} as olds, ${lines(`${e}.new`)} as news, ${lines(`${e}.payload`)} as payloads,
  ${lines(`${e}.context`)} as contexts`;

type Names = readonly (string | null)[];

export interface PageRow {
  /** null, as everything is: there is no event. */
  readonly ids: string | null;
  readonly uids: string;
  readonly times: string;
  readonly operations: string;
  readonly sources: readonly string[];
  readonly schemas: Names;
  readonly tables: Names;
  readonly keys: Names;
  readonly tenants: Names;
  readonly olds: string;
  readonly news: string;
  readonly payloads: string;
  readonly contexts: string;
}

/** Their texts are parts of the page's, and keep it in memory. */
export function toEventRecords(row: PageRow): EventRecord[] {
  if (row.ids === null) return [];
  const { sources, schemas, tables, keys, tenants } = row;
  const [uids, times, operations] = [row.uids.split('\n'), row.times.split('\n'), row.operations.split('\n')];
  const [olds, news, payloads, contexts] = [row.olds, row.news, row.payloads, row.contexts].map(images);
  return row.ids.split('\n').map((id, i) => ({
    id,
    uid: uids[i] ?? '',
    source: sources[i] ?? '',
    operation: operations[i] as Operation,
    schema: schemas[i] ?? null,
    table: tables[i] ?? null,
    key: keys[i] ?? null,
    tenant: tenants[i] ?? null,
    old: olds?.(i) ?? null,
    new: news?.(i) ?? null,
    payload: payloads?.(i) ?? null,
    context: contexts?.(i) ?? null,
    at: isoUtc(times[i] ?? ''),
  }));
}

/** With texts of its own: for what outlives the page, which may be thousands of times as large. */
export function detached(record: EventRecord): EventRecord {
  const { uid, old, new: current, payload, context } = record;
  const copy = (text: string) => Buffer.from(text).toString();
  return {
    ...record,
    uid: copy(uid),
    old: old && copy(old),
    new: current && copy(current),
    payload: payload && copy(payload),
    context: context && copy(context),
  };
}

/** JSON is never empty: where there is none, there is no image. */
function images(column: string): (i: number) => JsonText | null {
  const texts = column.split('\n');
  return (i) => texts[i] || null;
}
