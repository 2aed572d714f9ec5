/** Two sidecars on one database beside one: where receivers are the limit (20 ms each), and where this machine is. */
import { type Bench, type BenchCase, roundsOf, sized } from '../support/bench.ts';
import type { BenchDatabase } from '../support/cluster.ts';
import { ours } from '../support/contenders.ts';
import { monotonicMs, range, rotated, sleep } from '../support/figures.ts';
import { rowsSql } from '../support/orders.ts';
import { requireAll } from '../support/receiver.ts';
import { type Goal, ratios, Samples } from '../support/result.ts';

const loads = [
  { what: 'receivers that take 20 ms', path: '/delay/20/hook', concurrency: 20, rows: [4_000, 2_000, 100] },
  { what: 'receivers that take no time', path: '/hook', concurrency: 50, rows: [20_000, 10_000, 100] },
] as const;

export const twoSidecars: BenchCase = {
  number: 10,
  title: 'Two sidecars on one database',
  run: async (bench) => {
    const measured = loads.slice(0, sized(bench, 2, 2, 1));
    const database = await bench.cluster.createDatabase('two');
    try {
      await ours(database).install();
      const samples = new Samples();
      for (const round of roundsOf(bench)) {
        for (const load of measured) {
          for (const count of rotated([1, 2], round)) {
            const perSecond = await together(bench, database, count, load);
            const name = count === 1 ? 'one sidecar' : 'two sidecars';
            samples.add({ name, role: 'ours', what: load.what, unit: 'rows/s' }, perSecond);
          }
        }
      }
      const [slow, fast] = measured.map(({ what }) =>
        ratios(samples.of('two sidecars', what), samples.of('one sidecar', what)),
      );
      const goals: Goal[] = [
        { text: '≥ 1.5× one, receivers that take 20 ms', samples: slow ?? [], unit: '×', bound: { atLeast: 1.5 } },
        { text: 'never slower than one', samples: fast ?? [], unit: '×', bound: { atLeast: 1 } },
      ];
      const notes = measured.map(({ what, concurrency }) => `${concurrency} in flight per sidecar to ${what}.`);
      return {
        number: 10,
        title: twoSidecars.title,
        figures: samples.figures,
        goals,
        shown: measured.map(({ what }) => what),
        notes,
      };
    } finally {
      await database.drop();
    }
  },
};

/** All of them ready before the rows are written. @returns rows per second, from the first request to the last settlement */
async function together(
  bench: Bench,
  database: BenchDatabase,
  count: number,
  { path, concurrency, rows: [full, quick, smoke] }: (typeof loads)[number],
): Promise<number> {
  const contender = ours(database);
  const rows = sized(bench, full, quick, smoke);
  await contender.backlog(0);
  const options = { target: bench.receiver.url + path, concurrency, tuned: 'throughput' } as const;
  const sidecars = await Promise.all(range(count).map(() => contender.start(options)));
  const { arrivals } = bench.receiver.expect(rows);
  await database.query(`insert into public.orders ${rowsSql}`, [1, rows]);
  const arrived = await arrivals;
  while (!(await contender.idle())) await sleep(2);
  const ended = monotonicMs();
  await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  requireAll(arrived, rows);
  return (rows * 1_000) / (ended - arrived.firstAt);
}
