/** Fetching 100 new events, and moving the checkpoint over them, beside a log that retains millions, and a transaction that stays open. */
import { openRoutingSession } from '../../src/transport/postgres/routing-session.ts';
import { type Bench, type BenchCase, roundsOf, sized } from '../support/bench.ts';
import type { BenchDatabase } from '../support/cluster.ts';
import { ours } from '../support/contenders.ts';
import { median, monotonicMs, range } from '../support/figures.ts';
import { type Goal, Samples } from '../support/result.ts';

const what = 'fetching 100 new events';

export const retained: BenchCase = {
  number: 6,
  title: 'Fetching beside a long log',
  run: async (bench) => {
    const sizes = sized(bench, [1_000_000, 10_000_000], [200_000, 1_000_000], [1_000, 2_000]);
    const [short, long] = [await createLog(bench, 'short'), await createLog(bench, 'long')];
    try {
      const samples = new Samples();
      const goals: Goal[] = [];
      const measure = async (name: string) => {
        const ratio: number[] = [];
        for (const _ of roundsOf(bench)) {
          await short.query('truncate observers.events');
          const [least, ms] = [await fetching(bench, short), await fetching(bench, long)];
          samples.add({ name: 'an empty log', role: 'limit', what, unit: 'ms' }, least);
          samples.add({ name, role: 'ours', what, unit: 'ms' }, ms);
          ratio.push(ms / least);
        }
        goals.push({ text: `≤ 1.2× an empty log, ${name}`, samples: ratio, unit: '×', bound: { atMost: 1.2 } });
        bench.log(`${name}: ${median(ratio).toFixed(2)}×`);
      };
      for (const [i, size] of sizes.entries()) {
        await retain(long, size - (sizes[i - 1] ?? 0));
        await measure(`${size.toLocaleString('en')} retained`);
      }
      const open = await openTransaction(bench, long);
      await measure('and a transaction that stays open');
      await open.end();
      const notes = [
        'The median of many fetches in each round, in turns with those from an empty log in another database.',
        `The open transaction has written an event, and ${openFor(bench)} transactions began and ended beside it.`,
      ];
      return { number: 6, title: retained.title, figures: samples.figures, goals, shown: [what], notes };
    } finally {
      await short.drop();
      await long.drop();
    }
  },
};

async function createLog(bench: Bench, label: string): Promise<BenchDatabase> {
  const database = await bench.cluster.createDatabase(label);
  await ours(database).install();
  return database;
}

const openFor = (bench: Bench) => sized(bench, 20_000, 5_000, 100);

/** @returns milliseconds */
async function fetching(bench: Bench, database: BenchDatabase): Promise<number> {
  const session = await openRoutingSession(database.url);
  if (session === null) throw new Error('another router is at it');
  const took: number[] = [];
  const warmUp = sized(bench, 10, 10, 1);
  for (const _ of range(warmUp + sized(bench, 60, 30, 5))) {
    await emit(database, 100);
    const began = monotonicMs();
    const events = await session.read();
    const committed = await session.commit({ deliveries: [], faults: [] });
    took.push(monotonicMs() - began);
    if (events.length !== 100 || !committed) throw new Error(`${events.length} of 100 events were read`);
  }
  await session.close();
  return median(took.slice(warmUp));
}

/** Cheaper than through a trigger, and the same in the log. */
async function emit(database: BenchDatabase, count: number): Promise<void> {
  await database.query(
    `insert into observers.events (uid, source, operation, key, new)
     select gen_random_uuid(), 'orders', 'insert', n::text, jsonb_build_object('id', n, 'status', 'paid') from generate_series(1, $1) n`,
    [count],
  );
}

/** Routed events. */
async function retain(database: BenchDatabase, count: number): Promise<void> {
  const most = 500_000;
  for (let left = count; left > 0; left -= most) await emit(database, Math.min(left, most));
  await database.query(
    'update observers.checkpoints set snapshot = pg_current_snapshot(), target = null, after_id = 0',
  );
  await database.query('vacuum analyze observers.events');
}

/** What an hour does is not the time but the transactions in it. */
async function openTransaction(bench: Bench, database: BenchDatabase) {
  const client = await database.connect();
  await client.query('begin');
  await client.query(`select observers.emit('orders', '{}')`);
  await database.query(
    `do $$ begin for n in 1..${openFor(bench)} loop perform pg_current_xact_id(); commit; end loop; end $$`,
  );
  return client;
}
