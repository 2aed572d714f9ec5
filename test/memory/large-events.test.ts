import { expect, test } from 'vitest';
import type { Delivery } from '../../src/domain/delivery.ts';
import type { EventRecord } from '../../src/domain/event.ts';
import type { DestinationLane } from '../../src/pipeline/deliver/destination-lane.ts';
import { LargeEvents } from '../../src/pipeline/deliver/large-events.ts';
import type { ClaimedDelivery } from '../../src/transport/contract.ts';

const lane = () => ({}) as DestinationLane;
const megabytes = (n: number, event: EventRecord | null = null): ClaimedDelivery => ({
  delivery: {} as Delivery,
  event,
  bytes: n * 1024 * 1024,
});

test('large events wait for each other, but never a whole lane for another one', () => {
  const large = new LargeEvents();
  const [one, other] = [lane(), lane()];
  expect(large.permits(one, megabytes(100))).toBe(true);
  large.started(one, megabytes(100));
  expect(large.permits(one, megabytes(1))).toBe(false);
  expect(large.permits(other, megabytes(100))).toBe(true);
  large.started(other, megabytes(10));
  expect(large.permits(other, megabytes(1))).toBe(false);
  // What came along with its claim is in memory already.
  expect(large.permits(other, megabytes(1, {} as EventRecord))).toBe(true);

  large.finished(one, megabytes(100));
  expect(large.permits(other, megabytes(1))).toBe(true);
  expect(large.permits(other, megabytes(10))).toBe(false);
  large.finished(other, megabytes(10));
  expect(large.permits(other, megabytes(10))).toBe(true);
});
