/** The two scripts about fairness in their smallest size: that they run, lose nothing and yield figures. */
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Cluster, startCluster } from '../../bench/support/cluster.ts';
import { measureFairness } from '../../bench/support/fairness.ts';
import { measureIsolation } from '../../bench/support/isolation.ts';

let cluster: Cluster;
beforeAll(async () => {
  process.env.BENCH_DATABASE_URL = inject('postgresUrl');
  cluster = await startCluster({ flushing: false });
});
afterAll(() => cluster.stop());

const log = () => {};

test('single deliveries beside a backlog', { timeout: 120_000 }, async () => {
  const { latencies, left } = await measureFairness({ cluster, backlog: 20_000, others: 3, singles: 3, log });
  expect(latencies).toHaveLength(3);
  expect(latencies.every(Number.isFinite)).toBe(true);
  expect(left).toBeGreaterThan(0);
});

test('a destination beside a dead one and a slow one', { timeout: 120_000 }, async () => {
  const options = { cluster, rate: 20, undisturbedMs: 500, disturbedMs: 1_500, slowMs: 300, breaker: true, log };
  const phases = await measureIsolation(options);
  expect(phases.map(({ name }) => name)).toEqual(['undisturbed', 'one dead, one slow', 'undisturbed again']);
  for (const { events, p99, worst } of phases) {
    expect(events).toBeGreaterThan(0);
    expect([p99, worst].every(Number.isFinite)).toBe(true);
  }
});
