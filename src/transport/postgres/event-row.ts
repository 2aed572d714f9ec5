import type { EventRecord, Operation } from '../../domain/event.ts';

/** ISO 8601 in UTC with microseconds, whatever the session's settings. */
const isoUtc = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** Select list of an event; images as text, so that no digit is lost on the way. */
export const eventColumns = (e: string): string => `
  ${e}.id::text as event_id, ${e}.uid::text as uid, ${e}.source, ${e}.operation, ${e}.table_schema, ${e}.table_name, ${e}.key,
  ${e}.tenant, ${e}.old::text as old, ${e}.new::text as new, ${e}.payload::text as payload, ${e}.context::text as context,
  ${isoUtc(`${e}.created_at`)} as at`;

/** The same from the jsonb copy that a dead letter keeps (observers.event_json). */
export const keptEventColumns = (d: string): string => `
  ${d}.event_id::text as event_id, ${d}.event_uid::text as uid, ${d}.event ->> 'source' as source, ${d}.event ->> 'operation' as operation,
  ${d}.event ->> 'schema' as table_schema, ${d}.event ->> 'table' as table_name, ${d}.event ->> 'key' as key,
  ${d}.event ->> 'tenant' as tenant, nullif(${d}.event -> 'old', 'null')::text as old, nullif(${d}.event -> 'new', 'null')::text as new,
  case when ${d}.event ->> 'operation' in ('notify', 'emit') then (${d}.event -> 'payload')::text end as payload,
  nullif(${d}.event -> 'context', 'null')::text as context,
  ${isoUtc(`(${d}.event ->> 'at')::timestamptz`)} as at`;

export interface EventRow {
  event_id: string;
  uid: string;
  source: string;
  operation: Operation;
  table_schema: string | null;
  table_name: string | null;
  key: string | null;
  tenant: string | null;
  old: string | null;
  new: string | null;
  payload: string | null;
  context: string | null;
  at: string;
}

/** Size up to which an event comes along with its claim; a larger one is loaded when its turn comes. */
export const inlineEventBytes = 256 * 1024;

export function comesAlong({ old, new: current, payload }: EventRecord): boolean {
  return (old?.length ?? 0) + (current?.length ?? 0) + (payload?.length ?? 0) <= inlineEventBytes;
}

export function toEventRecord(row: EventRow): EventRecord {
  return {
    id: row.event_id,
    uid: row.uid,
    source: row.source,
    operation: row.operation,
    schema: row.table_schema,
    table: row.table_name,
    key: row.key,
    tenant: row.tenant,
    old: row.old,
    new: row.new,
    payload: row.payload,
    context: row.context,
    at: row.at,
  };
}
