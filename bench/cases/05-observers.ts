/** Whether an event costs more with every observer there is: one for each tenant, on one source. */
import { type BenchCase, roundsOf, sized } from '../support/bench.ts';
import { range, rotated } from '../support/figures.ts';
import { ratios, Samples } from '../support/result.ts';
import { deliveriesIn, fillLog, observer, route, rulesOf } from '../support/routing.ts';

const what = 'one of them matches';

/** Tenant 500 has the first; the other tenants have no events. */
const perTenant = (count: number) =>
  Object.fromEntries(
    range(count).map((n) => {
      const tenant = n === 0 ? 500 : 1_000 + n;
      return [
        `tenant-${tenant}`,
        observer(`"status" in changed && new.status == "paid" && new.tenant_id == ${tenant}`),
      ];
    }),
  );

export const observers: BenchCase = {
  number: 5,
  title: 'Many observers on one source',
  run: async (bench) => {
    const events = sized(bench, 300_000, 100_000, 2_000);
    const many = sized(bench, 10_000, 10_000, 100);
    const database = await bench.cluster.createDatabase('observers');
    try {
      await fillLog(database, events);
      const nameOf = (count: number) => `pg-observers, ${count.toLocaleString('en')} observers`;
      const contenders = [10, many].map((count) => ({ count, rules: rulesOf(database, perTenant(count)) }));
      const samples = new Samples();
      for (const round of roundsOf(bench)) {
        for (const { count, rules } of rotated(contenders, round)) {
          const { rate, processor } = await route(database, rules, events);
          const name = nameOf(count);
          if ((await deliveriesIn(database)) !== events / 1_000) throw new Error(`${name}: not one of them matched`);
          samples.add({ name, role: 'ours', what, unit: 'µs/event' }, 1e6 / rate);
          samples.add({ name, role: 'ours', what: 'processor time', unit: 'µs/event' }, processor);
        }
        bench.log(`round ${round + 1} done`);
      }
      const cost = ratios(samples.of(nameOf(many), what), samples.of(nameOf(10), what));
      const text = `≤ 1.5× the cost of 10 observers, with ${many.toLocaleString('en')}`;
      return {
        number: 5,
        title: observers.title,
        figures: samples.figures,
        goals: [{ text, samples: cost, unit: '×', bound: { atMost: 1.5 } }],
        shown: [what],
        notes: ['Every thousandth event belongs to a tenant with an observer.'],
      };
    } finally {
      await database.drop();
    }
  },
};
