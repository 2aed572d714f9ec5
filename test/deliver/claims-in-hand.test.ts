import { expect, test } from 'vitest';
import { ClaimsInHand } from '../../src/pipeline/deliver/claims-in-hand.ts';
import type { DeliveryQueue } from '../../src/transport/contract.ts';

test('what the table holds for this process is looked at six times as seldom once nothing is claimed', async () => {
  const { inHand, asked } = opened();
  const began = performance.now();
  await inHand.reconcile(began + 10_000);
  await inHand.reconcile(began + 20_000);
  expect(asked()).toBe(2);
  await inHand.reconcile(began + 70_000);
  expect(asked()).toBe(2);
  await inHand.reconcile(began + 80_001);
  expect(asked()).toBe(3);
});

test('a claim that may come, or a failure, brings the next look forward', async () => {
  const { inHand, asked } = opened();
  const began = performance.now();
  await inHand.reconcile(began + 10_000);
  await inHand.reconcile(began + 20_000);
  inHand.expect();
  inHand.arrived();
  await inHand.reconcile(performance.now() + 10_000);
  expect(asked()).toBe(3);
  inHand.reconcileSoon();
  await inHand.reconcile(began);
  expect(asked()).toBe(4);
  // The statement that failed may still arrive at the server, and claim.
  await inHand.reconcile(began + 10_000);
  expect(asked()).toBe(5);
});

function opened() {
  let asked = 0;
  const queue: Pick<DeliveryQueue, 'releaseUnknown'> = {
    releaseUnknown: async () => {
      asked += 1;
      return 0;
    },
  };
  const inHand = new ClaimsInHand(
    { queue: () => queue as DeliveryQueue, telemetry: () => {}, isTransient: () => false, onReleased: () => {} },
    performance.now(),
  );
  return { inHand, asked: () => asked };
}
