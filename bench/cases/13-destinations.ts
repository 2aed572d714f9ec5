/** The same backlog for one destination, for ten and for a hundred: what each one more costs. */
import { type Bench, type BenchCase, roundsOf, sized } from '../support/bench.ts';
import type { BenchDatabase } from '../support/cluster.ts';
import { monotonicMs, range, sleep } from '../support/figures.ts';
import { columns, rowsSql } from '../support/orders.ts';
import { requireAll, secret } from '../support/receiver.ts';
import { Samples } from '../support/result.ts';
import { type Rules, startSidecar } from '../support/sidecar.ts';

const inFlight = 100;
const what = 'a backlog shared out';
const nameOf = (count: number) => `${count} destination${count > 1 ? 's' : ''}`;

export const destinations: BenchCase = {
  number: 13,
  title: 'Many destinations',
  run: async (bench) => {
    const rows = sized(bench, 15_000, 5_000, 200);
    const counts = sized(bench, [1, 10, 100], [1, 10, 100], [1, 10]);
    const samples = new Samples();
    for (const _ of roundsOf(bench)) {
      for (const count of counts) {
        const database = await bench.cluster.createDatabase('destinations');
        const perSecond = await drained(bench, database, count, rows).finally(() => database.drop());
        samples.add({ name: nameOf(count), role: 'ours', what, unit: 'rows/s' }, perSecond);
      }
    }
    const notes = [`${rows} rows, each for one destination; ${inFlight} in flight together.`];
    return { number: 13, title: destinations.title, figures: samples.figures, goals: [], shown: [what], notes };
  },
};

/** @returns rows per second */
async function drained(bench: Bench, database: BenchDatabase, count: number, rows: number): Promise<number> {
  const hooks = range(count).map((n) => `hook-${n}`);
  const rules: Rules = {
    version: 1,
    database: database.url,
    sources: { orders: { table: 'orders', operations: ['insert'] } },
    destinations: Object.fromEntries(
      hooks.map((hook) => [
        hook,
        { webhook: { url: `${bench.receiver.url}/${hook}`, secret }, concurrency: Math.max(1, inFlight / count) },
      ]),
    ),
    observers: Object.fromEntries(
      hooks.map((hook, n) => [hook, { source: 'orders', when: `new.total == ${n}`, actions: [{ webhook: hook }] }]),
    ),
  };
  await database.query(`create table public.orders (${columns})`);
  const sidecar = await startSidecar(rules);
  const { arrivals } = bench.receiver.expect(rows);
  await database.query(
    `insert into public.orders select id, status, id % ${count}, customer, note from (${rowsSql}) orders`,
    [1, rows],
  );
  const arrived = await arrivals;
  const queued = async () => (await database.query('select from observers.deliveries limit 1')).rowCount !== 0;
  while (await queued()) await sleep(2);
  const ended = monotonicMs();
  await sidecar.stop();
  requireAll(arrived, rows);
  return (rows * 1_000) / (ended - arrived.firstAt);
}
