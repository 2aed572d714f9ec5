import { expect, onTestFinished, test } from 'vitest';
import { type ReceivedWebhook, startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import { createDatabase } from '../support/database.ts';
import { eventually, rulesFile, startSidecar } from './support.ts';

const idsOf = ({ body }: ReceivedWebhook): string[] =>
  JSON.parse(body).map(({ webhook_id }: { webhook_id: string }) => webhook_id);

test('SIGKILL between a batch and its settlement: its items come again by their ids, and nothing is lost', async () => {
  const database = await createDatabase('batchkill');
  // Taken by the receiver, and no answer: whether they were settled nobody knows.
  const receiver = await startWebhookReceiver({
    respond: ({ number }) => (number <= 2 ? { misbehave: 'hang-before-headers' } : { status: 204 }),
  });
  onTestFinished(() => receiver.close());
  const rules = await rulesFile(`version: 1
database: ${database.url}
sources: { orders: { topic: orders } }
destinations: { hook: { webhook: { url: "${receiver.url}" }, batch: { max: 10, wait: 200ms } } }
observers: { all: { source: orders, actions: [{ webhook: hook }] } }
settings: { instance_timeout: 2s }
`);
  const first = await startSidecar(rules);
  await database.query("select observers.emit('orders', jsonb_build_object('n', n)) from generate_series(1, 25) n");
  await receiver.received.waitFor(2);
  await first.kill('SIGKILL');
  const before = receiver.received.entries.flatMap(idsOf);
  await startSidecar(rules);
  await eventually('an empty queue', async () => {
    const { rows } = await database.query<{ n: number }>(
      `select (select count(*) from observers.deliveries)::int + 25 - (select count(*) from observers.attempts where outcome = 'delivered')::int as n`,
    );
    return rows[0]?.n === 0;
  });
  const ids = receiver.received.entries.flatMap(idsOf);
  expect(new Set(ids).size).toBe(25);
  // Twice is what was on its way when it died, and nothing else.
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  for (const [id, times] of counts) expect(times, id).toBeLessThanOrEqual(before.includes(id) ? 2 : 1);
});
