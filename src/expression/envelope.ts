import type { EventRecord } from '../domain/event.ts';
import { changedColumns, parseForEvaluation } from './json.ts';
import { toPlain } from './print.ts';

/**
 * The default webhook body as JSON text: `type`, `timestamp` and `data` as Standard Webhooks asks, beside the event's
 * own fields. Rows and payloads are spliced in as PostgreSQL printed them, so every number arrives digit for digit.
 * `context` is a member only of events that have one.
 */
export function eventEnvelope(record: EventRecord): string {
  const head = {
    id: record.uid,
    type: `${record.source}.${record.operation}`,
    timestamp: record.at,
    source: record.source,
    operation: record.operation,
    key: record.key,
    tenant: record.tenant,
  };
  const context = record.context === null ? '' : `,"context":${record.context}`;
  return `${JSON.stringify(head).slice(0, -1)}${context},"data":${envelopeData(record)}}`;
}

/** The same as a plain value: integers beyond 2^53 are bigints. */
export function plainEnvelope(record: EventRecord): unknown {
  return toPlain(parseForEvaluation(eventEnvelope(record)));
}

/** The envelope's `data`, as JSON text. */
export function envelopeData(record: EventRecord): string {
  const { operation, old, new: current, payload } = record;
  if (operation === 'notify' || operation === 'emit') return `{"payload":${payload ?? 'null'}}`;
  const changed = operation === 'update' ? changedColumns(old, current) : [];
  return `{"new":${current ?? 'null'},"old":${old ?? 'null'},"changed":${JSON.stringify(changed)}}`;
}
