import type { Telemetry } from '../domain/telemetry.ts';
import type { View, Write } from './view.ts';

/** One JSON object per line: events, attempts, story. The summary stays the plain last line. */
export function jsonView(write: Write): View {
  const put = (type: string, fields: object) =>
    write(`${JSON.stringify({ type, at: new Date().toISOString(), ...fields })}\n`);
  const telemetry: Telemetry = (event) => {
    if (event.type === 'events.routed') {
      for (const { record, deliveries } of event.events) {
        put('event', {
          uid: record.uid,
          source: record.source,
          operation: record.operation,
          key: record.key,
          deliveries,
        });
      }
    } else if (event.type === 'attempt.finished') {
      const { type, event: record, durationMs, errorClass, retryInMs, ...fields } = event;
      const named = { duration_ms: durationMs, error_class: errorClass, retry_in_ms: retryInMs };
      put('attempt', { ...fields, ...named, event: record.uid });
    } else if (event.type === 'breaker.changed') {
      put('breaker', { destination: event.destination, state: event.state });
    }
  };
  return {
    telemetry,
    // Facts for programs; how to look and how to end it are for people.
    header: (title, facts) =>
      put('demo', { title, ...Object.fromEntries(facts.filter(([label]) => /^[a-z]+$/.test(label))) }),
    step: (_tone, text) => put('story', { text }),
    remark: (text) => put('remark', { text }),
    flush: () => {},
    summary: (line) => write(`${line}\n`),
  };
}
