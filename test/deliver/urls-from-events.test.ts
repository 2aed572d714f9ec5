import { expect, test } from 'vitest';
import { emit, eventually, migrated, receiver, rules, run } from './fixture.ts';

test('a URL of an event: delivered where it may go, else a dead letter that names the rule', async () => {
  const database = await migrated('urls');
  const there = await receiver();
  const secrets = { KEY: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' };
  const config = rules(
    database.url,
    {
      destinations: {
        customers: {
          webhook: { url: '${{ payload.url }}', secret: '${KEY}' },
          addresses: { allow: [new URL(there.url).hostname], deny: ['169.254.0.0/16'] },
        },
        orders: { webhook: { url: `${there.url}/orders/\${{ payload.id }}`, method: 'PUT', format: 'cloudevents' } },
      },
      observers: {
        to: {
          source: 'orders',
          actions: [
            { webhook: 'customers', name: 'customer' },
            { webhook: 'orders', name: 'order' },
          ],
        },
      },
    },
    secrets,
  );
  await run(config);
  await emit(database, { id: 1, url: `${there.url}/in` });
  await emit(database, { id: null, url: 'http://169.254.169.254/latest/meta-data/' });
  await emit(database, { id: 2, url: 'http://[::ffff:10.0.0.1]/' });
  const dead = await eventually('three dead letters', async () => {
    const { rows } = await database.query<Record<string, string>>(
      `select action, reason, error_class as class, error_message as message, attempts from observers.dead_letters
       order by action, error_message`,
    );
    return rows.length === 3 && rows;
  });
  await eventually('three requests', () => there.received.total === 3);
  expect(there.received.entries.map(({ method, path }) => `${method} ${path}`).sort()).toEqual([
    'POST /in',
    'PUT /orders/1',
    'PUT /orders/2',
  ]);
  const refused = { action: 'customer', reason: 'rejected', class: 'address_refused', attempts: 1 };
  expect(dead).toMatchObject([
    { ...refused, message: expect.stringContaining('169.254.169.254 is refused: addresses.deny: 169.254.0.0/16') },
    { ...refused, message: expect.stringContaining('::ffff:0:0/96 (IPv4 in IPv6)') },
    {
      action: 'order',
      reason: 'engine_fault',
      class: 'template',
      message: expect.stringContaining('no value for the path'),
    },
  ]);
});
