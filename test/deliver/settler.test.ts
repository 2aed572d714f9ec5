import { expect, onTestFinished, test, vi } from 'vitest';
import type { Delivery } from '../../src/domain/delivery.ts';
import type { TelemetryEvent } from '../../src/domain/telemetry.ts';
import { Settler } from '../../src/pipeline/deliver/settler.ts';
import type { DeliveryQueue, Settlement } from '../../src/transport/contract.ts';
import { settlementOf } from '../support/settlement.ts';
import { eventually } from './fixture.ts';

/** Away, as the transport says it. */
const away = new Error('away');

const settlement = (id: number, overrides: Partial<Settlement> = {}) =>
  settlementOf(
    { id: String(id), lease: '1', orderingKey: null, deadLetterId: null } as Delivery,
    overrides.kind,
    overrides,
  );

function fixture(settle: (batch: readonly Settlement[], call: number) => Promise<void> | void) {
  const batches: (readonly Settlement[])[] = [];
  const written: Settlement[] = [];
  const told: TelemetryEvent[] = [];
  const queue = {
    settle: async (batch: readonly Settlement[]) => {
      batches.push(batch);
      await settle(batch, batches.length);
      written.push(...batch);
      return new Set(batch.map(({ delivery }) => delivery.id));
    },
  } as Partial<DeliveryQueue> as DeliveryQueue;
  const settled: string[] = [];
  const settler = new Settler({
    queue: () => queue,
    onSettled: (batch) => settled.push(...batch.map(({ delivery }) => delivery.id)),
    telemetry: (event) => told.push(event),
    isTransient: (error) => error === away,
  });
  onTestFinished(() => settler.abandon());
  return { settler, batches, written, told, settled };
}

const ids = (settlements: readonly Settlement[]) => settlements.map(({ delivery }) => Number(delivery.id));
const oneTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

test('what ends while a batch is on its way is the next batch, a thousand at most', async () => {
  let release = () => {};
  const first = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { settler, batches, settled } = fixture((_, call) => (call === 1 ? first : undefined));
  settler.add(settlement(1));
  await eventually('the first batch', () => batches.length === 1);
  for (const id of oneTo(2_500).slice(1)) settler.add(settlement(id));
  expect(settler.backlog).toBe(2_499);
  release();
  await settler.flush();
  expect(batches.map((batch) => batch.length)).toEqual([1, 1_000, 1_000, 499]);
  expect(settled.map(Number)).toEqual(oneTo(2_500));
  expect(settler.backlog).toBe(0);
});

test('plain outcomes gather for a moment, the first of them and those that somebody waits for do not', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const { settler, batches } = fixture(() => {});
  const add = async (...added: readonly Settlement[]) => {
    for (const one of added) {
      settler.add(one);
      await vi.advanceTimersByTimeAsync(1);
    }
  };
  await add(settlement(1), settlement(2), settlement(3));
  expect(batches.map(ids)).toEqual([[1]]);
  await vi.advanceTimersByTimeAsync(10);
  expect(batches.map(ids)).toEqual([[1], [2, 3]]);
  await add(settlement(4), settlement(5, { kind: 'retry' }));
  expect(batches.map(ids)).toEqual([[1], [2, 3], [4], [5]]);
  await vi.advanceTimersByTimeAsync(10);
  await add(settlement(6));
  expect(batches.map(ids).at(-1)).toEqual([6]);
});

test('keeps what can not be written while the transport is away, and writes it later', async () => {
  const { settler, written, told } = fixture((_, call) => {
    if (call <= 3) throw away;
  });
  for (const id of oneTo(10)) settler.add(settlement(id));
  await settler.flush();
  expect(ids(written)).toEqual(oneTo(10));
  expect(told).toEqual([]);
});

test('one that is refused goes without its details, and holds up nobody', async () => {
  const { settler, written, told } = fixture((batch) => {
    if (batch.some(({ responseExcerpt }) => responseExcerpt === 'poison')) throw new Error('invalid byte sequence');
  });
  for (const id of oneTo(100)) {
    settler.add(settlement(id, id === 37 ? { responseExcerpt: 'poison', kind: 'dead', reason: 'rejected' } : {}));
  }
  await settler.flush();
  expect(ids(written).sort((a, b) => a - b)).toEqual(oneTo(100));
  expect(written.find(({ delivery }) => delivery.id === '37')).toMatchObject({
    kind: 'dead',
    reason: 'rejected',
    responseExcerpt: null,
    keepAttempt: false,
  });
  expect(told.filter(({ type }) => type === 'settlement.refused')).toHaveLength(1);
});

test('a dead letter that is refused in every form stays a delivery', async () => {
  const { settler, written } = fixture((batch) => {
    if (batch.some(({ kind }) => kind === 'dead')) throw new Error('permission denied for table dead_letters');
  });
  settler.add(settlement(1, { kind: 'dead', reason: 'exhausted', errorMessage: 'no answer' }));
  settler.add(settlement(2));
  await settler.flush();
  expect(ids(written).sort()).toEqual([1, 2]);
  const kept = written.find(({ delivery }) => delivery.id === '1');
  expect(kept).toMatchObject({ kind: 'retry', reason: null, delayMs: 60_000 });
  expect(kept?.errorMessage).toMatch(/dead letter could not be stored: permission denied/);
});

test('says how many came too late', async () => {
  const told: TelemetryEvent[] = [];
  const settler = new Settler({
    queue: () => ({ settle: async () => new Set(['1']) }) as Partial<DeliveryQueue> as DeliveryQueue,
    onSettled: () => {},
    telemetry: (event) => told.push(event),
    isTransient: () => false,
  });
  for (const id of [1, 2, 3]) settler.add(settlement(id));
  await settler.flush();
  expect(told).toEqual([{ type: 'delivery.fenced', count: 2 }]);
});

test('flush ends when the rest is given up', async () => {
  const { settler, batches, written } = fixture(() => {
    throw away;
  });
  settler.add(settlement(1));
  await eventually('a try', () => batches.length > 0);
  settler.abandon();
  await settler.flush();
  expect(written).toEqual([]);
});
