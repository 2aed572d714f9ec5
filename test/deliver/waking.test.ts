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

const config = defineConfig({
  version: 1,
  database: 'postgres://localhost/none',
  sources: { orders: { topic: 'orders' } },
  destinations: { hook: { webhook: { url: 'http://127.0.0.1:9' }, concurrency: 1_000 } },
  observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
});

interface Begun {
  readonly dispatcher: Dispatcher;
  /** Ids, as they began. */
  readonly begun: readonly string[];
}

/** A dispatcher whose first claim brings so many; none of them ends. */
function dispatch(count: number, alive: () => boolean, onBegun: (id: string) => void): Begun {
  let looks = 0;
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const queue: DeliveryQueue = {
    claim: async () => {
      looks += 1;
      return { claimed: looks === 1 ? Array.from({ length: count }, (_, n) => claimed(n + 1)) : [], nextDueMs: null };
    },
    openNote: async () => ({ busy: false, value: null }),
    loadEvent: ({ id }) => {
      begun.push(id);
      onBegun(id);
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
    alive,
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
  return { dispatcher, begun };
}

test('a process stopped while it begins several deliveries begins no other one when it wakes', async () => {
  let alive = true;
  const { dispatcher, begun } = dispatch(
    5,
    () => alive,
    () => {
      // Stopped right here, and awake again after its timeout.
      alive = false;
    },
  );
  await eventually('a delivery is begun', () => begun.length > 0);
  expect(begun).toEqual(['1']);
  expect(dispatcher.lanes[0]).toMatchObject({ inFlight: 1, waiting: 4 });
});

test('between a thousand deliveries that begin at once, the event loop gets its turns', async () => {
  const begunAtTurn: number[] = [];
  const count = () => begunAtTurn.push(begun.length);
  const { dispatcher, begun } = dispatch(
    1_000,
    () => true,
    (id) => {
      if (Number(id) % 100 === 1) setImmediate(count);
    },
  );
  await eventually('all are begun, and the last turn came', () => begunAtTurn.length === 10);
  expect(begun).toEqual(Array.from({ length: 1_000 }, (_, n) => String(n + 1)));
  // As many turns as hundreds, and never more than a hundred between two.
  const turns = [...new Set(begunAtTurn)].sort((a, b) => a - b);
  expect(Math.max(...turns.map((at, n) => at - (turns[n - 1] ?? 0)))).toBeLessThanOrEqual(100);
  expect(dispatcher.lanes[0]).toMatchObject({ inFlight: 1_000, waiting: 0 });
});
