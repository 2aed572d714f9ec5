import fc from 'fast-check';
import { expect, test } from 'vitest';
import { longestDelayMs, type RetryPolicy, retryDelayMs } from '../../src/domain/retry.ts';

const policy: RetryPolicy = {
  attempts: 8,
  initialMs: 100,
  factor: 2,
  maxMs: 30_000,
  jitter: 'none',
  schedule: null,
  maxAgeMs: null,
};
const highest = 1 - Number.EPSILON / 2;

test('grows by the factor up to the maximum', () => {
  const delays = [1, 2, 3, 4, 9, 10, 11].map((attempt) => retryDelayMs(policy, attempt));
  expect(delays).toEqual([100, 200, 400, 800, 25_600, 30_000, 30_000]);
});

test('full jitter is uniform from 0 to the delay', () => {
  const jittered = { ...policy, jitter: 'full' } as const;
  expect(retryDelayMs(jittered, 3, null, () => 0)).toBe(0);
  expect(retryDelayMs(jittered, 3, null, () => 0.5)).toBe(200);
  expect(retryDelayMs(jittered, 3, null, () => highest)).toBe(400);
  const delays = Array.from({ length: 2_000 }, () => retryDelayMs(jittered, 3));
  const quarters = [0, 1, 2, 3].map((q) => delays.filter((ms) => Math.min(3, Math.floor(ms / 100)) === q).length);
  // 500 each; six standard deviations are 116.
  for (const quarter of quarters) expect(Math.abs(quarter - 500)).toBeLessThan(150);
});

test('a schedule gives each delay in turn, and its last one after that', () => {
  const scheduled = { ...policy, attempts: 4, schedule: [5_000, 300_000, 7_200_000] };
  expect([1, 2, 3, 4, 99].map((attempt) => retryDelayMs(scheduled, attempt))).toEqual([
    5_000, 300_000, 7_200_000, 7_200_000, 7_200_000,
  ]);
  expect(retryDelayMs({ ...scheduled, jitter: 'full' }, 2, null, () => 0.5)).toBe(150_000);
  expect(retryDelayMs(scheduled, 1, 60_000)).toBe(60_000);
});

test('Retry-After only lengthens', () => {
  expect(retryDelayMs(policy, 3, 5_000)).toBe(5_000);
  expect(retryDelayMs(policy, 3, 5)).toBe(400);
  expect(retryDelayMs(policy, 3, Number.POSITIVE_INFINITY)).toBe(longestDelayMs);
  for (const nonsense of [0, -1, Number.NaN]) expect(retryDelayMs(policy, 3, nonsense)).toBe(400);
});

test('is an integer within a day, whatever the policy', () => {
  const any = fc.record({
    attempts: fc.integer({ min: 1, max: 100 }),
    initialMs: fc.integer({ min: 1, max: longestDelayMs }),
    factor: fc.double({ min: 1, max: 1e300, noNaN: true }),
    maxMs: fc.integer({ min: 1, max: longestDelayMs * 10 }),
    jitter: fc.constantFrom('full' as const, 'none' as const),
    schedule: fc.option(fc.array(fc.integer({ min: 1, max: longestDelayMs * 10 }), { minLength: 1 })),
    maxAgeMs: fc.constant(null),
  });
  fc.assert(
    fc.property(any, fc.integer({ min: -1, max: 2 ** 31 }), fc.double(), (some, attempt, retryAfterMs) => {
      const ms = retryDelayMs(some, attempt, retryAfterMs);
      expect(Number.isInteger(ms) && ms >= 0 && ms <= longestDelayMs).toBe(true);
    }),
  );
});
