import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { EventRecord } from '../../src/domain/event.ts';
import type { AttemptFinished } from '../../src/domain/telemetry.ts';
import { attemptSpanId, decideSpanId, traceHeaders, traceOf } from '../../src/domain/trace.ts';
import { startTracing } from '../../src/telemetry/traces.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';
const traceparent = `00-${traceId}-${spanId}-01`;

const event = (context: object | null = null): EventRecord => ({
  id: '1',
  uid: '01a1fed3-b870-7000-93a6-63db14a325f5',
  source: 'orders',
  operation: 'update',
  schema: 'public',
  table: 'orders',
  key: '1',
  tenant: null,
  old: null,
  new: '{"card": "4711"}',
  payload: null,
  context: context === null ? null : JSON.stringify(context),
  at: new Date().toISOString(),
});

describe('the trace of an event', () => {
  test("is its writer's, with the writer's word on sampling", () => {
    expect(traceOf(event({ traceparent }), 0)).toEqual({ traceId, parent: { traceId, spanId }, sampled: true });
    expect(traceOf(event({ traceparent: `00-${traceId}-${spanId}-00` }), 1).sampled).toBe(false);
    // Flags of later versions may have more bits, and more fields may follow.
    expect(traceOf(event({ traceparent: `01-${traceId}-${spanId}-03-more` }), 0).sampled).toBe(true);
  });

  test.each([
    ['no text', 7],
    ['no context', 'hello'],
    ['version ff', `ff-${traceId}-${spanId}-01`],
    ['more fields than version 00 has', `${traceparent}-more`],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-${spanId}-01`],
    ['a span id of zeros', `00-${traceId}-${'0'.repeat(16)}-01`],
    ['upper case', traceparent.toUpperCase()],
    ['a line break', `${traceparent}\r\nx-evil: 1`],
  ])('is its own when the writer wrote %s', (_, written) => {
    const trace = traceOf(event({ traceparent: written }), 1);
    expect(trace.parent).toBeNull();
    expect(trace.traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(trace.traceId).not.toBe(traceId);
    expect(traceHeaders(event({ traceparent: written }), '1', 1, null)).toBeNull();
  });

  test('of its own is sampled by its id, so that all instances agree', () => {
    const uids = Array.from({ length: 2_000 }, (_, n) => ({ ...event(), uid: `event ${n}` }));
    const sampled = uids.filter((one) => traceOf(one, 0.25).sampled);
    expect(sampled.length).toBeGreaterThan(400);
    expect(sampled.length).toBeLessThan(600);
    expect(sampled.every((one) => traceOf(one, 0.3).sampled)).toBe(true);
    expect(uids.some((one) => traceOf(one, 0).sampled)).toBe(false);
    expect(uids.every((one) => traceOf(one, 1).sampled)).toBe(true);
  });
});

describe('what a receiver gets', () => {
  test('without spans of ours: what the writer wrote, or nothing', () => {
    expect(traceHeaders(event(), '1', 1, null)).toBeNull();
    expect(traceHeaders(event({ user: 'ada' }), '1', 1, null)).toBeNull();
    expect(traceHeaders(event({ traceparent, tracestate: 'vendor=1' }), '1', 1, null)).toEqual({
      traceparent,
      tracestate: 'vendor=1',
    });
    expect(traceHeaders(event({ traceparent, tracestate: 'a\r\nb: c' }), '1', 1, null)?.tracestate).toBeNull();
  });

  test('with spans of ours: the span of the attempt, another one for each', () => {
    const first = traceHeaders(event({ traceparent }), '7', 1, 1);
    expect(first?.traceparent).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
    expect(traceHeaders(event({ traceparent }), '7', 1, 1)).toEqual(first);
    expect(traceHeaders(event({ traceparent }), '7', 2, 1)).not.toEqual(first);
    expect(traceHeaders(event({ traceparent }), '8', 1, 1)).not.toEqual(first);
  });
});

const attempt: AttemptFinished = {
  type: 'attempt.finished',
  delivery: '7',
  event: event({ traceparent }),
  observer: 'paid',
  action: 'webhook-1',
  destination: 'billing',
  attempt: 1,
  durationMs: 30,
  outcome: 'retry',
  reason: null,
  status: 503,
  errorClass: 'http_503',
  message: 'status 503 from 127.0.0.1',
  retryInMs: 10,
  replay: false,
};

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];
  readonly status: { readonly code?: number; readonly message?: string };
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
}

/** A collector that takes OTLP over HTTP as JSON, the exporter's default. */
async function collector(status = 200) {
  const spans: OtlpSpan[] = [];
  const keys: (string | undefined)[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    keys.push(request.headers['x-api-key'] as string | undefined);
    for (const { scopeSpans } of JSON.parse(text).resourceSpans)
      for (const scope of scopeSpans) spans.push(...scope.spans);
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`;
  return { endpoint, spans, keys };
}

const instance = { id: 'host-1', version: '1.0.0' };

test('event, decision and attempt arrive at a collector as one trace below the span of the application', async () => {
  const { endpoint, spans, keys } = await collector();
  const settings = { endpoint, headers: { 'x-api-key': 'k' }, serviceName: 'shop-events', sample: 1 };
  const tracing = await startTracing(settings, instance, (message) => expect.unreachable(message));
  const queued = { observer: 'paid', action: 'webhook-1', destination: 'billing' };
  const nothing = { record: event(), deliveries: [] };
  tracing.observe({
    type: 'events.routed',
    tookMs: 2,
    events: [nothing, { record: attempt.event, deliveries: [queued] }],
  });
  tracing.observe(attempt);
  await tracing.close();

  const [change, decision, try1] = spans;
  expect(spans.map(({ name }) => name)).toEqual(['orders.update', 'decide orders', 'attempt billing']);
  expect(spans.map((span) => span.traceId)).toEqual([traceId, traceId, traceId]);
  expect(spans.map((span) => span.parentSpanId)).toEqual([spanId, change?.spanId, decision?.spanId]);
  expect(try1?.status).toEqual({ code: 2, message: 'status 503 from 127.0.0.1' });
  const attributes = Object.fromEntries(try1?.attributes.map(({ key, value }) => [key, Object.values(value)[0]]) ?? []);
  expect(attributes).toMatchObject({
    'pg_observers.event': attempt.event.uid,
    'pg_observers.destination': 'billing',
    'http.response.status_code': 503,
    'error.type': 'http_503',
  });
  expect(Number(try1?.endTimeUnixNano) - Number(try1?.startTimeUnixNano)).toBeCloseTo(30e6, -6);
  // The receiver's parent is the span of the attempt that it got.
  expect(traceHeaders(attempt.event, '7', 1, 1)?.traceparent).toContain(try1?.spanId);
  expect(keys).toEqual(['k']);
  expect(JSON.stringify(spans)).not.toContain('4711');
});

test('a delivery that died without an attempt is a failed span below the decision', async () => {
  const { endpoint, spans } = await collector();
  const settings = { endpoint, headers: {}, serviceName: 'x', sample: 1 };
  const tracing = await startTracing(settings, instance, (message) => expect.unreachable(message));
  const { delivery, observer, action, destination } = attempt;
  const about = {
    delivery,
    observer,
    action,
    destination,
    reason: 'rule_removed',
    attempts: 1,
    replay: false,
  } as const;
  const burial = { type: 'delivery.buried', ...about, message: 'the rule is gone' } as const;
  tracing.observe({ ...burial, event: attempt.event });
  tracing.observe({ ...burial, event: null });
  await tracing.close();
  expect(spans).toMatchObject([
    {
      traceId,
      parentSpanId: decideSpanId(attempt.event),
      name: 'bury billing',
      status: { code: 2, message: 'the rule is gone' },
    },
  ]);
  expect(spans[0]?.spanId).not.toBe(attemptSpanId(attempt.event, '7', 1));
});

test('what is not sampled is not sent', async () => {
  const { endpoint, spans } = await collector();
  const settings = { endpoint, headers: {}, serviceName: 'x', sample: 0 };
  const tracing = await startTracing(settings, instance, (message) => expect.unreachable(message));
  tracing.observe({ ...attempt, event: event() });
  tracing.observe({ ...attempt, event: event({ traceparent: `00-${traceId}-${spanId}-00` }) });
  tracing.observe({
    ...attempt,
    type: 'delivery.buried',
    event: event(),
    reason: 'exhausted',
    message: 'x',
    attempts: 1,
  });
  await tracing.close();
  expect(spans).toEqual([]);
});

test('a collector that refuses is complained about once, and harms nothing', async () => {
  const { endpoint } = await collector(400);
  const complaints: string[] = [];
  const settings = { endpoint, headers: {}, serviceName: 'x', sample: 1 };
  const tracing = await startTracing(settings, instance, (message) => complaints.push(message));
  for (let n = 0; n < 600; n++) tracing.observe(attempt);
  await tracing.close();
  expect(complaints).toEqual([expect.stringContaining("spans can't be sent: ")]);
});
