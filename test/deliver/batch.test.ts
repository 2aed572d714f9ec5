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
    `select min(extract(epoch from a.started_at - e.created_at))::float8 * 1000 as waited
     from observers.attempts a join observers.events e on e.id = a.event_id
     group by a.started_at having count(*) < 10`,
  );
  expect(rows.every(({ waited }) => waited >= 1_499)).toBe(true);
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
