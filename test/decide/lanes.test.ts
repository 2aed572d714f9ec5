/** Ordered deliveries: one claimable head per (destination, key), however routing and settling meet. */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { decide } from '../../src/pipeline/decide/decide.ts';
import type { ClaimedDelivery, DeliveryQueue, Settlement } from '../../src/transport/contract.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { createDeliveryQueue } from '../../src/transport/postgres/delivery-queue.ts';
import type { TestDatabase } from '../support/database.ts';
import { settlementOf } from '../support/settlement.ts';
import { drain, hotTable, openSession, prepare, type Rules } from './support.ts';

const urls = ['http://127.0.0.1:9/a', 'http://127.0.0.1:9/b'] as const;
const orderedRules: Rules = {
  sources: { hot: { table: 'public.hot', notify: false } },
  observers: { ordered: { source: 'hot', order_by: 'key', actions: urls.map((webhook) => ({ webhook })) } },
};

test('one head is ready, the rest is blocked, across several commits; a lane that emptied begins anew', async () => {
  const { database, rules } = await prepare('lanes_heads', hotTable, orderedRules);
  const session = await openSession(database.url, { pages: { eventsPerSlice: 2 } });
  const queue = openQueue(database);
  for (let n = 0; n < 3; n++) await database.query('update public.hot set v = v + 1 where id <= 2');
  await drain(session, rules);
  const heads = Array.from({ length: 4 }, () => ['ready', 'blocked', 'blocked']);
  expect(await states(database)).toEqual(heads);
  for (let left = 3; left > 0; left--) {
    const { claimed } = await queue.claim(wishes);
    expect(claimed).toHaveLength(4);
    await queue.settle(claimed.map((claim) => outcome(claim, left === 2 ? 'dead' : 'delivered')));
  }
  expect(await states(database)).toEqual([]);
  await database.query('update public.hot set v = v + 1 where id <= 2');
  await drain(session, rules);
  expect(await states(database)).toEqual([['ready'], ['ready'], ['ready'], ['ready']]);
});

test('two keys of one destination do not wait for each other, and a retried head keeps its lane waiting', async () => {
  const { database, rules } = await prepare('lanes_retry', hotTable, orderedRules);
  const session = await openSession(database.url);
  const queue = openQueue(database);
  for (let n = 0; n < 2; n++) await database.query('update public.hot set v = v + 1 where id <= 2');
  await drain(session, rules);
  const { claimed } = await queue.claim(wishes);
  const [retried, ...others] = claimed;
  if (retried === undefined) throw new Error('nothing to claim');
  await queue.settle([outcome(retried, 'retry'), ...others.map((claim) => outcome(claim, 'delivered'))]);
  const next = await queue.claim(wishes);
  expect(next.claimed).toHaveLength(4);
  expect(next.claimed.map(({ delivery }) => delivery.id)).toContain(retried.delivery.id);
});

test('routing and settling in parallel never leave a lane without a head, nor with two', async () => {
  const { database, rules } = await prepare('lanes_storm', hotTable, orderedRules);
  const session = await openSession(database.url, { pages: { eventsPerSlice: 7 } });
  const rounds = 150;
  let routing = true;
  const settled = new Map<string, number[]>();

  const route = (async () => {
    for (let n = 0; n < rounds; n++) {
      await database.query('update public.hot set v = v + 1 where id <= 5');
      for (let events = await session.read(); events.length > 0; events = await session.read()) {
        expect(await session.commit(decide(events, rules))).not.toBeNull();
      }
    }
    routing = false;
  })();
  const worker = async (): Promise<void> => {
    const queue = openQueue(database);
    let idle = 0;
    while (routing || idle < 5) {
      const { claimed } = await queue.claim(wishes);
      idle = claimed.length === 0 ? idle + 1 : 0;
      if (claimed.length === 0) await sleep(5);
      for (const { delivery, event } of claimed) {
        const lane = `${delivery.destination} ${delivery.orderingKey}`;
        const v: number = JSON.parse(event?.new ?? '{}').v;
        if (settled.get(lane)?.at(-1) !== v) settled.set(lane, [...(settled.get(lane) ?? []), v]);
      }
      await queue.settle(
        claimed.map((claim, n) => outcome(claim, n % 7 === 3 ? 'retry' : n % 11 === 5 ? 'dead' : 'delivered')),
      );
    }
  };
  let looks = 0;
  const watch = (async () => {
    while (routing) {
      const { rows } = await database.query(violations);
      expect(rows).toEqual([]);
      looks += 1;
    }
  })();
  await Promise.all([route, worker(), worker(), worker(), watch]);
  expect(looks).toBeGreaterThan(5);
  const { rows } = await database.query('select * from observers.lanes');
  expect({ deliveries: await states(database), lanes: rows }).toEqual({ deliveries: [], lanes: [] });
  const inOrder = Array.from({ length: rounds }, (_, n) => n + 1);
  expect(settled.size).toBe(10);
  for (const [lane, order] of settled) expect({ lane, order }).toEqual({ lane, order: inOrder });
}, 60_000);

/** Lanes with none or two that are ready or claimed, with a head that is not the oldest, or with a wrong count. */
const violations = `
  select d.destination, d.ordering_key, l.pending::int, array_agg(d.state order by d.id) as states
  from observers.deliveries d left join observers.lanes l using (destination, ordering_key)
  group by d.destination, d.ordering_key, l.pending
  having count(*) filter (where d.state <> 'blocked') <> 1
      or min(d.id) <> min(d.id) filter (where d.state <> 'blocked')
      or l.pending is distinct from count(*)`;

const wishes = urls.map((destination) => ({ destination, slots: 20 }));

function openQueue(database: TestDatabase): DeliveryQueue {
  const pool = createPool(database.url, 2);
  onTestFinished(() => pool.end());
  return createDeliveryQueue({ durable: pool, claims: pool }, randomUUID());
}

const outcome = ({ delivery }: ClaimedDelivery, kind: Settlement['kind']) =>
  settlementOf(delivery, kind, { keepAttempt: false });

async function states(database: TestDatabase): Promise<string[][]> {
  const { rows } = await database.query<{ states: string[] }>(
    'select array_agg(state order by id) as states from observers.deliveries group by destination, ordering_key order by destination, ordering_key',
  );
  return rows.map((row) => row.states);
}
