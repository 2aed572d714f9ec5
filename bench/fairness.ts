/**
 * How long a single delivery of one tenant takes while another tenant has a million due at the same destination.
 *
 *   npm run bench:fairness -- [--backlog 1000000] [--others 0] [--singles 100]
 *
 * --others: so many more tenants have a hundred due each.
 */

import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { startCluster } from './support/cluster.ts';
import { measureFairness } from './support/fairness.ts';
import { quantile } from './support/figures.ts';

const { values } = parseArgs({
  options: {
    backlog: { type: 'string', default: '1000000' },
    others: { type: 'string', default: '0' },
    singles: { type: 'string', default: '100' },
  },
});

const cluster = await startCluster();
try {
  const { latencies, perSecond, left } = await measureFairness({
    cluster,
    backlog: Number(values.backlog),
    others: Number(values.others),
    singles: Number(values.singles),
    log: (line) => console.log(line),
  });
  const [p50, p99] = [quantile(latencies, 0.5), quantile(latencies, 0.99)];
  const worst = Math.max(...latencies);
  console.log(`PostgreSQL ${cluster.version}, load ${(loadavg()[0] ?? Number.NaN).toFixed(1)}`);
  console.log(`single deliveries of the other tenant: p50 ${p50} ms, p99 ${p99} ms, worst ${worst} ms`);
  console.log(`the backlog meanwhile: ${perSecond.toFixed(0)}/s, ${left} left`);
} finally {
  await cluster.stop();
}
