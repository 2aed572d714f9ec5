import type { EventRecord, JsonText } from './event.ts';

/**
 * An event as people and programs are shown it, on one line: by commands with `--json`, and in the archive. Images are
 * spliced in as they are stored, so that numbers keep their digits.
 */
export function eventJson(event: EventRecord): JsonText {
  const { old, new: current, payload, context, schema, at, ...plain } = event;
  const raw = (name: string, json: string | null) => `"${name}": ${json ?? 'null'}`;
  return `{${JSON.stringify({ ...plain, table_schema: schema, created_at: at }).slice(1, -1)}, ${[
    raw('old', old),
    raw('new', current),
    raw('payload', payload),
    raw('context', context),
  ].join(', ')}}`;
}
