/** The main promise, driven from outside: the built binary, a real database, real receivers. Kills: kills.test.ts. */
import { expect, test } from 'vitest';
import { startSidecar } from './support.ts';
import { createWorld, drained, expectEachOnce, insertOrders, type World } from './world.ts';

test('10,000 rows of one statement × webhook, mail and Slack arrive exactly once each', {
  timeout: 200_000,
}, async () => {
  const world = await createWorld('bulk');
  const { database, arrivals } = world;
  const sidecar = await startSidecar(world.rules, { args: ['--log-level', 'warn'], until: 'spawned' });
  const began = performance.now();
  await insertOrders(database, 10_000);
  const committed = performance.now();
  await world.arrived(30_000);
  const seconds = (performance.now() - committed) / 1_000;
  console.log(
    `inserted in ${Math.round(committed - began)} ms; 30,000 deliveries ${seconds.toFixed(1)} s later (${Math.round(30_000 / seconds)}/s)`,
  );
  await drained(database);

  expect(arrivals).toHaveLength(30_000);
  expectEachOnce(arrivals, 10_000);
  for (const row of [1, 4_711, 10_000]) expectContents(world, row);
  const { rows } = await database.query(`select count(*)::int as attempts,
    count(*) filter (where outcome = 'delivered' and attempt = 1)::int as delivered from observers.attempts`);
  expect(rows).toEqual([{ attempts: 30_000, delivered: 30_000 }]);
  expect(await sidecar.kill()).toMatchObject({ status: 0, stderr: '' });
});

function expectContents({ webhooks, mails, slack }: World, row: number): void {
  const total = `${row}.50`;
  const hook = webhooks.received.entries.find(({ body }) => body.includes(`"id": ${row},`));
  expect(hook).toMatchObject({ method: 'POST', path: '/orders' });
  expect(hook?.body).toContain(`"total": ${total}`);
  expect(JSON.parse(hook?.body ?? '')).toMatchObject({
    type: 'orders.insert',
    key: String(row),
    data: { new: { id: row, status: 'paid', email: `customer-${row}@example.com` }, old: null },
  });
  const mail = mails.received.entries.find(({ subject }) => subject === `Order ${row}`);
  expect(mail?.envelope).toEqual({ from: 'shop@example.com', to: [`customer-${row}@example.com`] });
  expect(mail?.text?.trim()).toBe(`You paid ${total}.`);
  const message = slack.received.entries.find(({ text }) => text === `${row}: ${total}`);
  expect(message).toMatchObject({ channel: '#sales', token: 'xoxb-1' });
}
