import type { EventRecord, Operation } from '../../domain/event.ts';

/** Select list of an event; images as text, so that no digit is lost on the way. */
export const eventColumns = (e: string): string => `
  ${e}.id::text as event_id, ${e}.uid::text as uid, ${e}.source, ${e}.operation, ${e}.table_schema, ${e}.table_name, ${e}.key,
  ${e}.tenant, ${e}.old::text as old, ${e}.new::text as new, ${e}.payload::text as payload, ${e}.context::text as context,
  ${e}.created_at as at`;

/**
 * What a stored value takes in memory, about, without unpacking it: PostgreSQL tells only what it takes on disk. Compressed
 * it may be up to 85 times as long. Small ones are counted as the usual, for together they are many; of a large one a
 * wrong guess alone could fill the memory. As a float: sums of bigints are numeric, and take three times as long.
 */
export const bytesOf = (column: string): string =>
  `coalesce(pg_column_size(${column}) * case when pg_column_compression(${column}) is null then 1.0::float8
     when pg_column_size(${column}) <= 4096 then 20 else 85 end, 0)`;

/** The same of all images of an event. */
export const eventBytes = (e: string): string =>
  ['old', 'new', 'payload'].map((image) => bytesOf(`${e}.${image}`)).join(' + ');

/** The select list from the jsonb copy that a dead letter keeps (observers.event_json). */
export const keptEventColumns = (d: string): string => `
  ${d}.event_id::text as event_id, ${d}.event_uid::text as uid, ${d}.event ->> 'source' as source, ${d}.event ->> 'operation' as operation,
  ${d}.event ->> 'schema' as table_schema, ${d}.event ->> 'table' as table_name, ${d}.event ->> 'key' as key,
  ${d}.event ->> 'tenant' as tenant, nullif(${d}.event -> 'old', 'null')::text as old, nullif(${d}.event -> 'new', 'null')::text as new,
  case when ${d}.event ->> 'operation' in ('notify', 'emit') then (${d}.event -> 'payload')::text end as payload,
  nullif(${d}.event -> 'context', 'null')::text as context,
  (${d}.event ->> 'at')::timestamptz as at`;

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
  /** As the server prints a timestamptz in the sessions of `connectionConfig`. */
  at: string;
}

/** Size up to which an event comes along with its claim; a larger one is loaded when its turn comes. */
export const inlineEventBytes = 256 * 1024;

/** What its images take in memory, about; at least 1. */
export function bytesInMemory({ old, new: current, payload }: EventRecord): number {
  return 1 + (old?.length ?? 0) + (current?.length ?? 0) + (payload?.length ?? 0);
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
    at: isoUtc(row.at),
  };
}

/**
 * '2026-11-20 12:00:00.12+00' as ISO 8601 with microseconds. `to_char(… at time zone …)` took the server longer than all
 * other columns of an event without images.
 */
export function isoUtc(at: string): string {
  if (at.charCodeAt(10) !== space || !at.endsWith('+00')) throw new Error(`${at} is not a time in UTC`);
  return `${at.slice(0, 10)}T${at.slice(11, 19)}.${at.slice(20, -3).padEnd(6, '0')}Z`;
}

const space = 0x20;
