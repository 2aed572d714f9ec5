/** What deciding costs when nothing comes of it: most changes of most tables concern nobody. */
import { type BenchCase, roundsOf, sized } from '../support/bench.ts';
import { range, rotated } from '../support/figures.ts';
import { Samples } from '../support/result.ts';
import { type Cost, decode, deliveriesIn, fillLog, observer, route, rulesOf } from '../support/routing.ts';

/** As people write them: a third can be looked up by what they compare with, the others are evaluated. None holds. */
const conditions: readonly ((n: number) => string)[] = [
  (n) => `"status" in changed && new.status == "paid" && new.total > ${100_000 + n}`,
  (n) => `new.tenant_id == ${1_000_000 + n} && new.status == "shipped"`,
  (n) => `new.total >= ${200_000 + n} || old.total >= ${200_000 + n}`,
  (n) => `new.status in ["lost", "refused-${n}"]`,
  (n) => `new.email.endsWith("@customer-${n}.example") && new.total > 10`,
  (n) => `old.status == "open" && new.status == "cancelled-${n}"`,
  (n) => `!(new.priority in ["low", "high"]) && new.total < ${n}`,
  (n) => `new.note != null && new.note.contains("urgent ${n}")`,
  (n) => `event.tenant == "tenant-${n}"`,
  (n) => `new.warehouse != old.warehouse && new.items > ${n}`,
];

const hundred = Object.fromEntries(
  range(100).map((n) => [`observer-${n}`, observer(conditions[n % conditions.length]?.(n) ?? 'false')]),
);

const what = 'events that concern nobody';
const limit = 'the rows alone, decoded';

export const unmatched: BenchCase = {
  number: 4,
  title: 'Events that match nothing, with 100 observers',
  run: async (bench) => {
    const events = sized(bench, 300_000, 100_000, 2_000);
    const database = await bench.cluster.createDatabase('unmatched');
    try {
      await fillLog(database, events);
      const [none, rules] = [rulesOf(database, {}), rulesOf(database, hundred)];
      const contenders = [
        { name: limit, role: 'limit', run: () => decode(database, events) },
        { name: 'pg-observers, no observer', role: 'ours', run: () => route(database, none, events) },
        { name: 'pg-observers, 100 observers', role: 'ours', run: () => route(database, rules, events) },
      ] as const;
      const samples = new Samples();
      for (const round of roundsOf(bench)) {
        for (const { name, role, run } of rotated(contenders, round)) {
          const cost: Cost = await run();
          samples.add({ name, role, what, unit: 'events/s' }, cost.rate);
          samples.add({ name, role, what: 'processor time', unit: 'µs/event' }, cost.processor);
        }
        if ((await deliveriesIn(database)) !== 0) throw new Error('an event matched');
        bench.log(`round ${round + 1} done`);
      }
      const measured = samples.of('pg-observers, 100 observers', what);
      return {
        number: 4,
        title: unmatched.title,
        figures: samples.figures,
        goals: [{ text: '≥ 50,000 events/s', samples: measured, unit: 'events/s', bound: { atLeast: 50_000 } }],
        shown: [what],
        notes: [
          'A router in the process of the benchmark, from the first event to the last commit; images of 300 bytes.',
        ],
      };
    } finally {
      await database.drop();
    }
  },
};
