import { Webhook } from 'standardwebhooks';
import { expect, test } from 'vitest';
import type { DestinationInput } from '../../src/config/index.ts';
import type { ReceivedWebhook } from '../../src/receivers/webhook-receiver.ts';
import { count, drained, emit, emitMany, eventually, migrated, receiver, rules, run } from './fixture.ts';

interface Item {
  readonly webhook_id: string;
  readonly id: string;
  readonly tenant: string | null;
  readonly data: { readonly payload: { readonly n: number } };
}

const itemsOf = ({ body }: ReceivedWebhook): Item[] => JSON.parse(body);
const numbersOf = (request: ReceivedWebhook) => itemsOf(request).map(({ data }) => data.payload.n);
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** One observer, one destination `hook` with a batch. */
function batching(url: string, database: string, destination: Partial<DestinationInput>, observer = {}) {
  return rules(database, {
    destinations: { hook: { webhook: { url }, ...destination } as DestinationInput },
    observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }], ...observer } },
  });
}

test('as many as make a batch go at once, the rest when the oldest has waited, each with its own id and one signature for all', async () => {
  const database = await migrated('batch');
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
  const { received, url } = await receiver();
  await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url, secret }, batch: { max: 10, wait: '1500ms' } } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    }),
  );
  await emitMany(database, 1, 25);
  await drained(database, 25);
  const requests = received.entries;
  expect(requests.map((request) => itemsOf(request).length).sort()).toEqual([10, 10, 5]);
  expect(requests.flatMap(numbersOf).sort((a, b) => a - b)).toEqual(range(1, 25));
  const ids = requests.flatMap(itemsOf).map(({ webhook_id }) => webhook_id);
  expect(new Set(ids).size).toBe(25);
  expect(ids.every((id) => /^msg_[\w-]{27}$/.test(id))).toBe(true);
  expect(new Set(requests.map(({ messageId }) => messageId)).size).toBe(3);
  const judge = new Webhook(secret);
  for (const { body, headers } of requests)
    expect(() => judge.verify(body, headers as Record<string, string>)).not.toThrow();
  // Not one of them left before its time: what waits is in the queue, unclaimed.
  const { rows } = await database.query<{ waited: number }>(
    `select extract(epoch from a.started_at - e.created_at)::float8 * 1000 as waited
     from observers.attempts a join observers.events e on e.id = a.event_id order by 1 desc limit 5`,
  );
  for (const { waited } of rows) expect(waited).toBeGreaterThanOrEqual(1_490);
});

test('what is alone after its wait is a batch of one, and nothing is claimed before', async () => {
  const database = await migrated('batchone');
  const { received, url } = await receiver();
  const { told } = await run(batching(url, database.url, { batch: { max: 10, wait: '1s' } }));
  await emit(database, { n: 1 });
  await eventually('a delivery in the queue', async () => (await count(database, 'deliveries')) === 1);
  expect(await count(database, 'deliveries', "state = 'claimed'")).toBe(0);
  await drained(database, 1);
  expect(received.entries.map(numbersOf)).toEqual([[1]]);
  expect(received.entries[0]?.messageId).toBe(itemsOf(received.entries[0] as ReceivedWebhook)[0]?.webhook_id);
  expect(told.filter(({ type }) => type === 'stage.failed')).toEqual([]);
});

test('a batch that failed goes again as it was, to the byte, and one attempt of each is counted', async () => {
  const database = await migrated('batchagain');
  const { received, url } = await receiver({ respond: ({ number }) => ({ status: number <= 4 ? 503 : 204 }) });
  await run(
    batching(url, database.url, { batch: { max: 10, wait: '200ms' }, retry: { attempts: 5, initial: '300ms' } }),
  );
  await emitMany(database, 1, 17);
  await received.waitFor(2);
  // Newcomers must not join those that failed.
  await emitMany(database, 18, 20);
  await drained(database, 20);
  const bodies = new Map<string | null, Set<string>>();
  for (const { messageId, body } of received.entries) {
    bodies.set(messageId, (bodies.get(messageId) ?? new Set()).add(body));
  }
  expect([...bodies.values()].map((same) => same.size)).toEqual(range(1, bodies.size).map(() => 1));
  expect([...bodies.values()].map(([body = '']) => JSON.parse(body).length).sort()).toEqual([10, 3, 7].sort());
  expect(received.total).toBe(7);
  const { rows } = await database.query<{ n: number }>(
    `select count(*)::int as n from observers.attempts where outcome = 'retry'`,
  );
  expect(rows[0]?.n).toBeGreaterThanOrEqual(17);
});

test('an answer may name single items that failed: they alone are tried again, or are dead letters', async () => {
  const database = await migrated('batchitems');
  const { received, url } = await receiver({
    respond: (request) => {
      if (request.number > 1) return { status: 204 };
      const items = itemsOf(request);
      const failed = [
        { id: items[1]?.webhook_id, error: 'busy' },
        { id: items[2]?.id, error: 'no such product', retry: false },
        { index: 4 },
      ];
      return { status: 200, body: JSON.stringify({ failed }) };
    },
  });
  await run(
    batching(url, database.url, {
      batch: { max: 6, wait: '5s', items: true },
      retry: { attempts: 3, initial: '20ms' },
    }),
  );
  await emitMany(database, 1, 6);
  await eventually('an empty queue', async () => received.total > 1 && (await count(database, 'deliveries')) === 0);
  expect(received.entries.map(numbersOf)).toEqual([range(1, 6), [2, 5]]);
  const { rows } = await database.query(
    `select (event -> 'payload' ->> 'n')::int as n, reason, error_class, error_message, (request ->> 'body')::jsonb -> 'data' as data from observers.dead_letters`,
  );
  expect(rows).toEqual([
    {
      n: 3,
      reason: 'rejected',
      error_class: 'item_failed',
      error_message: expect.stringMatching(/took the batch, but not this item: no such product$/),
      data: { payload: { n: 3 } },
    },
  ]);
  expect(await count(database, 'attempts', "outcome = 'delivered'")).toBe(5);
});

test.each([
  ['which is not JSON', 'thank you'],
  ['which names somebody else', '{ "failed": [{ "id": "msg_nobody" }] }'],
  ['whose list is none', '{ "failed": true }'],
])('an answer %s says nothing about the items: all are tried again', async (_, body) => {
  const database = await migrated('batchanswer');
  const { received, url } = await receiver({
    respond: ({ number }) => ({ status: 200, body: number === 1 ? body : '{ "took": 2 }' }),
  });
  await run(batching(url, database.url, { batch: { max: 2, wait: '5s', items: true }, retry: { initial: '10ms' } }));
  await emitMany(database, 1, 2);
  await drained(database, 2);
  expect(new Set(received.entries.map((request) => request.body)).size).toBe(1);
  expect(await count(database, 'attempts', "error_class = 'protocol'")).toBe(2);
});

test('one that can not be rendered is a dead letter of its own; the others go', async () => {
  const database = await migrated('batchfault');
  const { received, url } = await receiver();
  const actions = [{ webhook: 'hook', body: { n: '${{ payload.n }}', digit: '${{ int(payload.text) }}' } }];
  await run(batching(url, database.url, { batch: { max: 3, wait: '1s' } }, { actions }));
  for (const [n, text] of [
    [0, 'none'],
    [1, '10'],
    [2, '5'],
  ])
    await emit(database, { n, text });
  await eventually('an empty queue', async () => received.total > 0 && (await count(database, 'deliveries')) === 0);
  // Written in the file, so nothing is added to it.
  expect(received.entries.map(({ body }) => JSON.parse(body))).toEqual([
    [
      { n: 1, digit: 10 },
      { n: 2, digit: 5 },
    ],
  ]);
  expect(await count(database, 'dead_letters', "reason = 'engine_fault'")).toBe(1);
});

test('what goes elsewhere, or has other headers, is another request', async () => {
  const database = await migrated('batchkeys');
  const { received, url } = await receiver();
  const actions = [
    { webhook: 'hook', query: { half: '${{ payload.n % 2 }}' }, headers: { 'x-third': '${{ payload.n % 3 }}' } },
  ];
  await run(batching(url, database.url, { batch: { max: 12, wait: '5s' }, concurrency: 2 }, { actions }));
  await emitMany(database, 1, 12);
  await drained(database, 12);
  const seen = received.entries.map((request) => [request.path, request.headers['x-third'], numbersOf(request)]);
  expect(seen.sort()).toEqual(
    [
      ['/?half=0', '0', [6, 12]],
      ['/?half=0', '1', [4, 10]],
      ['/?half=0', '2', [2, 8]],
      ['/?half=1', '0', [3, 9]],
      ['/?half=1', '1', [1, 7]],
      ['/?half=1', '2', [5, 11]],
    ].sort(),
  );
});

test('a request is no larger than max_bytes, unless one item is', async () => {
  const database = await migrated('batchbytes');
  const { received, url } = await receiver();
  await run(batching(url, database.url, { batch: { max: 50, wait: '500ms', max_bytes: 4_000 } }));
  await database.query(
    `select observers.emit('orders', jsonb_build_object('n', n, 'text', repeat('x', case when n = 7 then 300000 else 800 end))) from generate_series(1, 12) n`,
  );
  await drained(database, 12);
  const sizes = received.entries.map((request) => [request.body.length, numbersOf(request)] as const);
  expect(sizes.filter(([size]) => size > 4_002).map(([, numbers]) => numbers)).toEqual([[7]]);
  expect(sizes.flatMap(([, numbers]) => numbers).sort((a, b) => a - b)).toEqual(range(1, 12));
  expect(received.total).toBeLessThan(9);
});

test('CloudEvents go in batched mode', async () => {
  const database = await migrated('batchevents');
  const { received, url } = await receiver();
  await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url, format: 'cloudevents' }, batch: { max: 2 } } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    }),
  );
  await emitMany(database, 1, 2);
  await drained(database, 2);
  const [request] = received.entries;
  expect(request?.headers['content-type']).toBe('application/cloudevents-batch+json; charset=utf-8');
  expect(JSON.parse(request?.body ?? '')).toEqual(
    [1, 2].map((n) =>
      expect.objectContaining({
        specversion: '1.0',
        webhookid: expect.stringMatching(/^msg_/),
        type: 'orders.emit',
        data: { payload: { n } },
      }),
    ),
  );
});
