/** One change, three actions to receivers that take 100 ms each: they go out beside each other. */
import { type BenchCase, roundsOf, sized } from '../support/bench.ts';
import { median, monotonicMs, range, sleep } from '../support/figures.ts';
import { columns } from '../support/orders.ts';
import { secret } from '../support/receiver.ts';
import { Samples } from '../support/result.ts';
import { startSidecar } from '../support/sidecar.ts';

export const fanOut: BenchCase = {
  number: 9,
  title: 'Three actions of 100 ms each',
  run: async (bench) => {
    const changes = sized(bench, 30, 15, 3);
    const database = await bench.cluster.createDatabase('fan_out');
    await database.query(`create table public.orders (${columns})`);
    const hook = (name: string) => ({ webhook: { url: `${bench.receiver.url}/delay/100/${name}`, secret } });
    const sidecar = await startSidecar({
      version: 1,
      database: database.url,
      sources: { orders: { table: 'orders' } },
      destinations: { a: hook('a'), b: hook('b'), c: hook('c') },
      observers: { three: { source: 'orders', actions: [{ webhook: 'a' }, { webhook: 'b' }, { webhook: 'c' }] } },
    });
    try {
      const samples = new Samples();
      let id = 0;
      for (const _ of roundsOf(bench)) {
        const took: number[] = [];
        for (const __ of range(changes)) {
          await sleep(45);
          const { arrivals } = bench.receiver.expect(3);
          await database.query(`insert into public.orders values ($1, 'paid', 1, 'c', 'x')`, [++id]);
          const committed = monotonicMs();
          took.push((await arrivals).lastAnsweredAt - committed);
        }
        const what = 'commit to the last answer';
        samples.add({ name: 'pg-observers', role: 'ours', what, unit: 'ms' }, median(took));
      }
      const all = samples.of('pg-observers', 'commit to the last answer');
      const goals = [
        { text: '≤ 115 ms (one after the other: 300 ms)', samples: all, unit: 'ms', bound: { atMost: 115 } },
      ];
      const notes = [`The median of ${changes} changes in each round.`];
      return { number: 9, title: fanOut.title, figures: samples.figures, goals, shown: [], notes };
    } finally {
      await sidecar.stop();
      await database.drop();
    }
  },
};
