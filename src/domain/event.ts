/**
 * An event is one captured change, notification or emitted message.
 *
 * Column images and payloads stay *text* here, exactly as PostgreSQL printed them: `JSON.parse` would round numbers
 * beyond 2^53 and drop the zeros of 100.00, and most events never need more than their text.
 */

export const tableOperations = ['insert', 'update', 'delete', 'truncate', 'read'] as const;
export type TableOperation = (typeof tableOperations)[number];

/** `notify` comes from a channel source, `emit` from a topic source, the others from a table source. */
export type Operation = TableOperation | 'notify' | 'emit';

/** JSON as text, valid by construction (it was printed by PostgreSQL from a jsonb value). */
export type JsonText = string;

export interface EventRecord {
  /** Internal order: the digits of a bigint. Never shown to receivers; a restored log may reuse it. */
  readonly id: string;
  /** Public identity, never reused. */
  readonly uid: string;
  readonly source: string;
  readonly operation: Operation;
  readonly schema: string | null;
  readonly table: string | null;
  /** Primary key as text; a JSON array of texts when it has several columns; null without a primary key. */
  readonly key: string | null;
  readonly tenant: string | null;
  readonly old: JsonText | null;
  readonly new: JsonText | null;
  /** Channel and topic events. A channel payload that is not JSON arrives as a JSON string. */
  readonly payload: JsonText | null;
  readonly context: JsonText | null;
  /** ISO 8601, UTC, microseconds. */
  readonly at: string;
}

/** Conditions are and-ed; a missing one excludes nothing. */
export interface EventFilter {
  readonly source?: string | undefined;
  readonly operation?: string | undefined;
  readonly key?: string | undefined;
  readonly tenant?: string | undefined;
  /** ISO 8601: captured then or later. */
  readonly since?: string | undefined;
  /** ISO 8601: captured before. */
  readonly until?: string | undefined;
}
