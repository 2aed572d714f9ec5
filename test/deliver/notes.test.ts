import { beforeAll, expect, onTestFinished, test } from 'vitest';
import type { Delivery } from '../../src/domain/delivery.ts';
import type { DeliveryQueue, NoteName, Settlement } from '../../src/transport/contract.ts';
import { createDeliveryQueue } from '../../src/transport/postgres/delivery-queue.ts';
import { trimNotes } from '../../src/transport/postgres/notes.ts';
import type { TestDatabase } from '../support/database.ts';
import { settlementOf } from '../support/settlement.ts';
import { count, migrated } from './fixture.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await migrated('notes');
});

const thread: NoteName = { key: 'thread', shared: true };

interface Site {
  /** Two instances: each claims by itself. */
  readonly queues: readonly [DeliveryQueue, DeliveryQueue];
  claim(queue: DeliveryQueue): Promise<Delivery>;
}

/** A destination of its own, with `deliveries` that wait for it. */
async function site(destination: string, deliveries: number): Promise<Site> {
  const pool = database.pool({ max: 8 });
  const queue = () => createDeliveryQueue({ durable: pool, claims: pool }, crypto.randomUUID());
  await database.query(
    `insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, state, rule_version)
     select n, now(), gen_random_uuid(), 'o', 'a', $1, 'ready', 'v' from generate_series(1, $2::int) n`,
    [destination, deliveries],
  );
  onTestFinished(async () => {
    await database.query('delete from observers.deliveries; delete from observers.notes');
  });
  return {
    queues: [queue(), queue()],
    claim: async (from) => {
      const { claimed } = await from.claim([{ destination, slots: 1 }]);
      if (claimed[0] === undefined) throw new Error('nothing was claimed');
      return claimed[0].delivery;
    },
  };
}

const outcome = (delivery: Delivery, kind: Settlement['kind'], note: Settlement['note']) =>
  settlementOf(delivery, kind, note === undefined ? {} : { note });

test('of two that miss a note, one goes on; with its outcome the other one finds it', async () => {
  const { queues, claim } = await site('two', 2);
  const [one, two] = [await claim(queues[0]), await claim(queues[1])];
  expect(await queues[0].openNote(one, thread)).toEqual({ busy: false, value: null });
  expect(await queues[1].openNote(two, thread)).toEqual({ busy: true });
  await queues[0].settle([outcome(one, 'delivered', { ...thread, value: { ts: '1.5' } })]);
  expect(await queues[1].openNote(two, thread)).toEqual({ busy: false, value: { ts: '1.5' } });
});

test('many at once: exactly one', async () => {
  const { queues, claim } = await site('many', 30);
  const claims: [DeliveryQueue, Delivery][] = [];
  for (let i = 0; i < 30; i++) {
    const queue = queues[i % 2 === 0 ? 0 : 1];
    claims.push([queue, await claim(queue)]);
  }
  const opened = await Promise.all(claims.map(([queue, delivery]) => queue.openNote(delivery, thread)));
  expect(opened.filter(({ busy }) => !busy)).toHaveLength(1);
});

test.each([
  ['failed', (queue: DeliveryQueue, one: Delivery) => queue.settle([outcome(one, 'retry', null)])],
  ['died', (queue: DeliveryQueue, one: Delivery) => queue.settle([outcome(one, 'dead', null)])],
  ['was handed back', (queue: DeliveryQueue, one: Delivery) => queue.release([one], 0)],
])('one that %s without a note leaves its place to the next', async (_, leave) => {
  const { queues, claim } = await site('next', 2);
  const [one, two] = [await claim(queues[0]), await claim(queues[1])];
  await queues[0].openNote(one, thread);
  expect(await queues[1].openNote(two, thread)).toEqual({ busy: true });
  await leave(queues[0], one);
  expect(await queues[1].openNote(two, thread)).toEqual({ busy: false, value: null });
});

test('an instance that lost its claim can not leave a note any more', async () => {
  const { queues, claim } = await site('zombie', 1);
  const before = await claim(queues[0]);
  await queues[0].openNote(before, thread);
  await queues[0].releaseUnknown([]);
  const now = await claim(queues[1]);
  expect(await queues[1].openNote(now, thread)).toEqual({ busy: false, value: null });
  expect(await queues[0].settle([outcome(before, 'delivered', { ...thread, value: 'late' })])).toEqual(new Set());
  await queues[1].settle([outcome(now, 'delivered', { ...thread, value: 'first' })]);
  const { rows } = await database.query('select value from observers.notes');
  expect(rows).toEqual([{ value: 'first' }]);
});

test('a batch with one note, the same note twice, and none', async () => {
  const { queues, claim } = await site('batch', 4);
  const [queue] = queues;
  const [a, b, c, d] = [await claim(queue), await claim(queue), await claim(queue), await claim(queue)];
  const poison = { text: 'a\u0000b\ud800' };
  const settled = await queue.settle([
    outcome(a, 'delivered', { ...thread, value: 1 }),
    outcome(b, 'delivered', { ...thread, value: 1 }),
    outcome(c, 'retry', { key: 'mine', shared: false, value: poison }),
    outcome(d, 'dead', null),
  ]);
  expect(settled.size).toBe(4);
  const { rows } = await database.query(
    'select key, value, event_uid is not null as own from observers.notes order by key',
  );
  expect(rows).toEqual([
    { key: 'mine', value: { text: 'a\ufffdb\ufffd' }, own: true },
    { key: 'thread', value: 1, own: false },
  ]);
  const again = await claim(queue);
  expect(again).toMatchObject({ id: c.id, attempts: 1 });
  expect(await queue.openNote(again, { key: 'mine', shared: false })).toMatchObject({
    value: { text: 'a\ufffdb\ufffd' },
  });
  await queue.settle([outcome(again, 'delivered', { key: 'mine', shared: false, value: null })]);
  expect(await count(database, 'notes', "key = 'mine'")).toBe(0);
});

test('notes go 90 days after their last use; of a delivery, no earlier than its dead letter', async () => {
  const { queues, claim } = await site('old', 5);
  const [queue] = queues;
  const keys = ['unused', 'used', 'buried', 'discarded'];
  for (const key of keys) {
    const shared = key === 'unused' || key === 'used';
    await queue.settle([outcome(await claim(queue), 'dead', { key, shared, value: key })]);
  }
  await database.query(
    `update observers.notes set updated_at = now() - interval '100 days';
     delete from observers.dead_letters k using observers.notes n where n.key = 'discarded' and k.event_uid = n.event_uid`,
  );
  expect(await queue.openNote(await claim(queue), { key: 'used', shared: true })).toMatchObject({ value: 'used' });
  await trimNotes(database.pool());
  const { rows } = await database.query<{ key: string }>('select key from observers.notes order by key');
  expect(rows.map(({ key }) => key)).toEqual(['buried', 'used']);
});
