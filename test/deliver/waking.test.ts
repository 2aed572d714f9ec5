import { expect, onTestFinished, test } from 'vitest';
import { defineConfig } from '../../src/config/index.ts';
import { Dispatcher } from '../../src/pipeline/deliver/dispatcher.ts';
import type { ClaimedDelivery, DeliveryQueue } from '../../src/transport/contract.ts';
import { eventually } from './fixture.ts';

const claimed = (n: number): ClaimedDelivery => ({
  delivery: {
    id: String(n),
    lease: '1',
    observer: 'all',
    action: 'webhook-1',
    destination: 'hook',
    tenant: null,
    orderingKey: null,
    attempts: 0,
    deadLetterId: null,
    ruleVersion: '1',
    queuedAt: 0,
  },
  event: null,
  bytes: 1,
});

test('a process stopped while it begins several deliveries begins no other one when it wakes', async () => {
  const config = defineConfig({
    version: 1,
    database: 'postgres://localhost/none',
    sources: { orders: { topic: 'orders' } },
    destinations: { hook: { webhook: { url: 'http://127.0.0.1:9' }, concurrency: 5 } },
    observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
  });
  let alive = true;
  let looks = 0;
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const queue: DeliveryQueue = {
    claim: async () => {
      looks += 1;
      return { claimed: looks === 1 ? [1, 2, 3, 4, 5].map(claimed) : [], nextDueMs: null };
    },
    openNote: async () => ({ busy: false, value: null }),
    loadEvent: ({ id }) => {
      begun.push(id);
      // Stopped right here, and awake again after its timeout.
      alive = false;
      return new Promise((resolve) => ends.push(() => resolve(null)));
    },
    settle: async (settlements) => new Set(settlements.map(({ delivery }) => delivery.id)),
    release: async (deliveries) => deliveries.length,
    releaseUnknown: async () => 0,
  };
  const dispatcher = new Dispatcher({
    readHolds: async () => [],
    queue: () => queue,
    instance: () => 'this one',
    pollIntervalMs: () => 10,
    alive: () => alive,
    confirmNewestRules: async () => true,
    tracedShare: null,
    openDatabase: () => {
      throw new Error('no sql action here');
    },
    telemetry: () => {},
    isTransient: () => false,
  });
  onTestFinished(async () => {
    for (const end of ends) end();
    await dispatcher.stop(0);
  });
  dispatcher.load(config);
  dispatcher.start();
  await eventually('a delivery is begun', () => begun.length > 0);
  expect(begun).toEqual(['1']);
  expect(dispatcher.lanes[0]).toMatchObject({ inFlight: 1, waiting: 4 });
});
