/**
 * What a healthy destination feels of a dead one and a slow one beside it.
 *
 *   npm run bench:isolation -- [--minutes 10] [--undisturbed 1.5] [--rate 200] [--slow 2000] [--breaker on|off]
 *
 * Each event is for all three. First all are well, then one refuses connections and one takes --slow milliseconds for an
 * answer, then all are well again.
 */

import { parseArgs } from 'node:util';
import { startCluster } from './support/cluster.ts';
import { measureIsolation } from './support/isolation.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    undisturbed: { type: 'string', default: '1.5' },
    rate: { type: 'string', default: '200' },
    slow: { type: 'string', default: '2000' },
    breaker: { type: 'string', default: 'on' },
  },
});

const cluster = await startCluster();
try {
  console.log(`PostgreSQL ${cluster.version}`);
  const [before, disturbed, after] = await measureIsolation({
    cluster,
    rate: Number(values.rate),
    undisturbedMs: Number(values.undisturbed) * 60_000,
    disturbedMs: Number(values.minutes) * 60_000,
    slowMs: Number(values.slow),
    breaker: values.breaker === 'on',
    log: (line) => console.log(line),
  });
  for (const one of [before, after]) {
    if (one && disturbed) console.log(`p99 ${(disturbed.p99 / one.p99).toFixed(2)} times that of "${one.name}"`);
  }
} finally {
  await cluster.stop();
}
