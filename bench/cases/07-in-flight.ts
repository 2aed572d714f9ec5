/** 10,000 deliveries at once, to a receiver that takes a second for each: no place is taken twice, and memory stays small. */
import { type BenchCase, roundsOf, sized } from '../support/bench.ts';
import { ours } from '../support/contenders.ts';
import { sleep } from '../support/figures.ts';
import { rowsSql } from '../support/orders.ts';
import { requireAll } from '../support/receiver.ts';
import { Samples } from '../support/result.ts';

export const inFlight: BenchCase = {
  number: 7,
  title: '10,000 deliveries in flight',
  run: async (bench) => {
    const rows = sized(bench, 10_000, 10_000, 200);
    const takesMs = sized(bench, 1_000, 1_000, 100);
    const database = await bench.cluster.createDatabase('in_flight');
    try {
      const contender = ours(database);
      await contender.install();
      const samples = new Samples();
      for (const _ of roundsOf(bench)) {
        await contender.backlog(0);
        const target = `${bench.receiver.url}/delay/${takesMs}/hook`;
        const sidecar = await contender.start({ target, concurrency: rows, tuned: 'throughput' });
        const { arrivals } = bench.receiver.expect(rows);
        await database.query(`insert into public.orders ${rowsSql}`, [1, rows]);
        const arrived = await arrivals;
        while (!(await contender.idle())) await sleep(5);
        const { peak } = sidecar.residentMb();
        await sidecar.stop();
        requireAll(arrived, rows);
        const longest = await database.query<{ ms: number }>(
          'select max(duration_ms)::float8 as ms from observers.attempts',
        );
        const add = (what: string, unit: string, sample: number) =>
          samples.add({ name: 'pg-observers', role: 'ours', what, unit }, sample);
        add('most in flight at once', 'requests', arrived.mostInFlight);
        add('longest attempt', 'ms', longest.rows[0]?.ms ?? Number.NaN);
        add('first request to last answer', 'ms', arrived.lastAnsweredAt - arrived.firstAt);
        add('most memory', 'MB', peak);
      }
      const of = (what: string) => samples.of('pg-observers', what);
      const goals = [
        {
          text: 'all within 1.5 s of their start',
          samples: of('longest attempt'),
          unit: 'ms',
          bound: { atMost: 1_500 },
        },
        { text: 'memory below 300 MB', samples: of('most memory'), unit: 'MB', bound: { atMost: 300 } },
      ];
      const notes = [`${rows} rows in one statement, one destination, each answered after ${takesMs} ms.`];
      return { number: 7, title: inFlight.title, figures: samples.figures, goals, shown: [], notes };
    } finally {
      await database.drop();
    }
  },
};
