import type { HrTime, SpanContext } from '@opentelemetry/api';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base';
import { UserError } from '../domain/errors.ts';
import type { EventRecord } from '../domain/event.ts';
import type { TracingSettings } from '../domain/rules.ts';
import type { AttemptFinished, DeliveryBuried, EventsRouted, Telemetry } from '../domain/telemetry.ts';
import { attemptSpanId, burialSpanId, decideSpanId, eventSpanId, type SpanId, traceOf } from '../domain/trace.ts';

export interface Tracing {
  /** Subscribe this to an engine. */
  readonly observe: Telemetry;
  /** Sends what is left, for at most a few seconds; never rejects. */
  close(): Promise<void>;
}

/** Of the specification; the package is loaded only when spans are wanted. */
const kinds = { internal: 0, client: 2, producer: 3, consumer: 4 } as const;
const statusOf = { unset: 0, error: 2 } as const;
const sampledFlag = 1;
const lastWordsMs = 5_000;
/** A collector that is away would be a line for every batch. */
const complainEveryMs = 60_000;

/**
 * Spans of each event that led to something: the event (from the change to its deliveries), the decision about it, each
 * attempt, and each delivery that died without one.
 *
 * They are put together from telemetry after the fact, with the ids of domain/trace.ts. The API of the SDK, which opens a span
 * and closes it, would need a context to be carried through every stage, and what was decided in one process is often
 * attempted in another.
 *
 * @param complain told when spans can't be sent, at most once a minute
 * @throws UserError when the packages are not installed
 */
export async function startTracing(
  { endpoint, headers, serviceName, sample }: TracingSettings,
  instance: { readonly id: string; readonly version: string },
  complain: (message: string) => void,
): Promise<Tracing> {
  const { BatchSpanProcessor, OTLPTraceExporter, resourceFromAttributes } = await packages();
  const processor = new BatchSpanProcessor(
    reporting(new OTLPTraceExporter({ url: endpoint, headers: { ...headers } }), complain),
  );
  const resource = resourceFromAttributes({
    'service.name': serviceName,
    'service.version': instance.version,
    'service.instance.id': instance.id,
  });
  const report = (span: Span) => processor.onEnd(readable(span, resource, instance.version));
  return {
    observe: (event) => {
      if (event.type === 'events.routed') for (const span of spansOfRouted(event, sample)) report(span);
      else if (event.type === 'attempt.finished') for (const span of spanOfAttempt(event, sample)) report(span);
      else if (event.type === 'delivery.buried') for (const span of spanOfBurial(event, sample)) report(span);
    },
    close: () => Promise.race([processor.shutdown().catch(() => {}), after(lastWordsMs)]),
  };
}

async function packages() {
  try {
    const [{ BatchSpanProcessor }, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
      import('@opentelemetry/sdk-trace-base'),
      import('@opentelemetry/exporter-trace-otlp-http'),
      import('@opentelemetry/resources'),
    ]);
    return { BatchSpanProcessor, OTLPTraceExporter, resourceFromAttributes };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new UserError(
      'settings.opentelemetry needs packages that are not installed: npm install @opentelemetry/sdk-trace-base @opentelemetry/exporter-trace-otlp-http @opentelemetry/resources',
      2,
      { cause: error, code: 'PGO-PACKAGES' },
    );
  }
}

interface Span {
  readonly id: SpanId;
  readonly parent: SpanId | null;
  readonly name: string;
  readonly kind: keyof typeof kinds;
  /** Unix time, milliseconds. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  readonly error: string | null;
}

/** What concerned nobody is no trace: it would be most of them. */
function* spansOfRouted({ events, tookMs }: EventsRouted, share: number): Generator<Span> {
  const endMs = Date.now();
  for (const { record, deliveries } of events) {
    if (deliveries.length === 0) continue;
    const { traceId, parent, sampled } = traceOf(record, share);
    if (!sampled) continue;
    const event = { traceId, spanId: eventSpanId(record) };
    const name = `${record.source}.${record.operation}`;
    const attributes = attributesOf(record);
    // The database's clock may be ahead of this host's.
    const startMs = Math.min(Date.parse(record.at), endMs);
    yield { id: event, parent, name, kind: 'producer', startMs, endMs, attributes, error: null };
    yield {
      id: { traceId, spanId: decideSpanId(record) },
      parent: event,
      name: `decide ${record.source}`,
      kind: 'consumer',
      startMs: Math.max(startMs, endMs - tookMs),
      endMs,
      attributes: { ...attributes, 'pg_observers.deliveries': deliveries.length },
      error: null,
    };
  }
}

function* spanOfAttempt(attempt: AttemptFinished, share: number): Generator<Span> {
  const { event, delivery, durationMs, status, errorClass, outcome } = attempt;
  const { traceId, sampled } = traceOf(event, share);
  if (!sampled) return;
  const endMs = Date.now();
  yield {
    id: { traceId, spanId: attemptSpanId(event, delivery, attempt.attempt) },
    parent: { traceId, spanId: decideSpanId(event) },
    name: `attempt ${attempt.destination}`,
    kind: 'client',
    startMs: endMs - durationMs,
    endMs,
    attributes: {
      ...attributesOf(event),
      'pg_observers.observer': attempt.observer,
      'pg_observers.action': attempt.action,
      'pg_observers.destination': attempt.destination,
      'pg_observers.attempt': attempt.attempt,
      'pg_observers.outcome': outcome,
      ...(status === null ? {} : { 'http.response.status_code': status }),
      ...(errorClass === null ? {} : { 'error.type': errorClass }),
      ...(attempt.replay ? { 'pg_observers.replay': true } : {}),
    },
    error: outcome === 'delivered' ? null : (attempt.message ?? outcome),
  };
}

/** In no time, with what would have been an attempt's parent. Of an event that has left the log nobody knows the trace. */
function* spanOfBurial(burial: DeliveryBuried, share: number): Generator<Span> {
  const { event, delivery, destination, reason } = burial;
  if (event === null) return;
  const { traceId, sampled } = traceOf(event, share);
  if (!sampled) return;
  const atMs = Date.now();
  yield {
    id: { traceId, spanId: burialSpanId(event, delivery) },
    parent: { traceId, spanId: decideSpanId(event) },
    name: `bury ${destination}`,
    kind: 'internal',
    startMs: atMs,
    endMs: atMs,
    attributes: {
      ...attributesOf(event),
      'pg_observers.observer': burial.observer,
      'pg_observers.action': burial.action,
      'pg_observers.destination': destination,
      'pg_observers.outcome': 'dead',
      'error.type': reason,
      ...(burial.replay ? { 'pg_observers.replay': true } : {}),
    },
    error: burial.message,
  };
}

/** Names only: the event's data stays in the database. */
const attributesOf = ({ uid, source, operation }: EventRecord) => ({
  'pg_observers.event': uid,
  'pg_observers.source': source,
  'pg_observers.operation': operation,
});

function readable(span: Span, resource: ReadableSpan['resource'], version: string): ReadableSpan {
  return {
    name: span.name,
    kind: kinds[span.kind],
    spanContext: () => contextOf(span.id),
    ...(span.parent === null ? {} : { parentSpanContext: { ...contextOf(span.parent), isRemote: true } }),
    startTime: hrTime(span.startMs),
    endTime: hrTime(span.endMs),
    duration: hrTime(span.endMs - span.startMs),
    status: span.error === null ? { code: statusOf.unset } : { code: statusOf.error, message: span.error },
    attributes: span.attributes,
    links: [],
    events: [],
    ended: true,
    resource,
    instrumentationScope: { name: 'pg-observers', version },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

const contextOf = (id: SpanId): SpanContext => ({ ...id, traceFlags: sampledFlag });

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1_000);
  return [seconds, Math.round((ms - seconds * 1_000) * 1e6)];
}

/** The exporter tells a diagnostic logger that nobody reads. */
function reporting(exporter: SpanExporter, complain: (message: string) => void): SpanExporter {
  let complainedAt = Number.NEGATIVE_INFINITY;
  return {
    export: (spans, callback) =>
      exporter.export(spans, (result) => {
        if (result.error !== undefined && performance.now() - complainedAt > complainEveryMs) {
          complainedAt = performance.now();
          complain(`spans can't be sent: ${result.error.message}`);
        }
        callback(result);
      }),
    shutdown: () => exporter.shutdown(),
  };
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
