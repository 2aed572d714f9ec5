import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { createShop, receiver, shopRules } from './shop.ts';
import { eventually, rulesFile, startSidecar } from './support.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';
const context = JSON.stringify({ traceparent: `00-${traceId}-${spanId}-01` });

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
}

async function collector() {
  const spans: Span[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    for (const { scopeSpans } of JSON.parse(text).resourceSpans)
      for (const scope of scopeSpans) spans.push(...scope.spans);
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`, spans };
}

test('a trace goes from the transaction through the sidecar to the receiver', async () => {
  const database = await createShop('tracing');
  const hooks = await receiver();
  const { endpoint, spans } = await collector();
  const rules = await rulesFile(
    shopRules({
      database: database.url,
      url: hooks.url,
      more: `settings: { opentelemetry: { endpoint: "${endpoint}" } }`,
    }),
  );
  const sidecar = await startSidecar(rules);
  await database.query(
    `begin; select set_config('observers.context', '${context}', true); insert into public.orders values (1); commit`,
  );
  await hooks.received.waitFor(1);
  // What is left is sent at the end.
  await sidecar.kill();

  const ours = spans.filter((span) => span.traceId === traceId);
  const [change, decision, attempt] = ours;
  expect(ours.map(({ parentSpanId }) => parentSpanId)).toEqual([spanId, change?.spanId, decision?.spanId]);
  const [hook] = hooks.received.entries;
  expect(hook?.headers.traceparent).toBe(`00-${traceId}-${attempt?.spanId}-01`);
});

test('without a collector the context of the transaction is passed on as it is', async () => {
  const database = await createShop('untraced');
  const hooks = await receiver();
  await startSidecar(await rulesFile(shopRules({ database: database.url, url: hooks.url })));
  await database.query(
    `begin; select set_config('observers.context', '${context}', true); insert into public.orders values (1); commit`,
  );
  await database.query('insert into public.orders values (2)');
  await hooks.received.waitFor(2);
  const parents = hooks.received.entries.map(({ headers }) => headers.traceparent);
  expect(parents.sort()).toEqual([`00-${traceId}-${spanId}-01`, undefined]);
});

test('a collector that is away is a warning, and holds nothing up', async () => {
  const database = await createShop('tracing_away');
  const hooks = await receiver();
  const more = 'settings: { opentelemetry: { endpoint: "http://127.0.0.1:9/v1/traces" } }';
  const sidecar = await startSidecar(await rulesFile(shopRules({ database: database.url, url: hooks.url, more })));
  await database.query('insert into public.orders values (1)');
  await hooks.received.waitFor(1);
  const { status, stdout } = await sidecar.kill();
  expect(status).toBe(0);
  expect(stdout).toContain("spans can't be sent");
  await eventually('nothing to be left', async () => {
    const { rows } = await database.query<{ n: number }>('select count(*)::int as n from observers.deliveries');
    return rows[0]?.n === 0;
  });
});

test('a reload that names a collector changes nothing until a restart, and says so', async () => {
  const database = await createShop('tracing_reload');
  const hooks = await receiver();
  const { endpoint, spans } = await collector();
  const untraced = shopRules({ database: database.url, url: hooks.url });
  const file = await rulesFile(untraced);
  const sidecar = await startSidecar(file);
  await writeFile(file, `${untraced}settings: { opentelemetry: { endpoint: "${endpoint}" } }\n`);
  sidecar.signal('SIGHUP');
  await sidecar.record('a warning', ({ msg }) =>
    msg.startsWith('settings.opentelemetry changed: that needs a restart'),
  );
  await database.query('insert into public.orders values (1)');
  const [hook] = await hooks.received.waitFor(1);
  expect(hook?.headers.traceparent).toBeUndefined();
  await sidecar.kill();
  expect(spans).toEqual([]);
});
