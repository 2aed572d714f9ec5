import type { EventRecord } from '../../domain/event.ts';

/**
 * An event as CloudEvents 1.0 names things. `id` and `source` together are unique to the event, not to the delivery: that
 * is what `webhook-id` is for.
 */
function attributesOf(record: EventRecord): readonly (readonly [name: string, value: string])[] {
  return [
    ['specversion', '1.0'],
    ['id', record.uid],
    // A URI reference; what names a source in the file needs no encoding in one.
    ['source', `/pg-observers/${record.source}`],
    ['type', `${record.source}.${record.operation}`],
    // An optional attribute must not be empty.
    ...optional('subject', record.key),
    ['time', record.at],
    ...optional('tenant', record.tenant),
  ];
}

function optional(name: string, value: string | null): [string, string][] {
  return value === null || value === '' ? [] : [[name, value]];
}

/** The structured mode: attributes and data in one JSON text. @param data JSON text */
export function structuredCloudEvent(record: EventRecord, data: string): string {
  const head = { ...Object.fromEntries(attributesOf(record)), datacontenttype: 'application/json' };
  return `${JSON.stringify(head).slice(0, -1)},"data":${data}}`;
}

/** The binary mode: attributes as headers; the data alone is the body, and `content-type` its type. */
export function cloudEventHeaders(record: EventRecord): Record<string, string> {
  return Object.fromEntries(attributesOf(record).map(([name, value]) => [`ce-${name}`, encodedValue(value)]));
}

/** HTTP binding 1.0.2, 3.1.3.2: what is not printable ASCII, and space, quote and percent, as UTF-8 in percent-encoding. */
function encodedValue(value: string): string {
  return value.toWellFormed().replace(/[^\x21\x23\x24\x26-\x7e]/gu, encodeURIComponent);
}
