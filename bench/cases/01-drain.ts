/**
 * A backlog of 250-byte rows is drained to a receiver on this host. The clock runs from the first request until the last row is
 * acknowledged in the database. Ours begins with events in the log: conditions and routing are in the time, while the rivals begin
 * with jobs.
 */
import { type Bench, type BenchCase, install, roundsOf, sized } from '../support/bench.ts';
import { type Child, startChild } from '../support/child.ts';
import type { Contender } from '../support/contenders.ts';
import { monotonicMs, rotated, sleep } from '../support/figures.ts';
import { requireAll } from '../support/receiver.ts';
import { bestOf, type Goal, ratios, Samples } from '../support/result.ts';

/** About what the envelope of such a row has. */
const bodyBytes = 490;

export const drain: BenchCase = {
  number: 1,
  title: 'A backlog drained to a local receiver',
  run: async (bench) => {
    const rows = sized(bench, 30_000, 10_000, 300);
    const concurrencies = sized(bench, [50, 200], [100], [20]);
    const database = await bench.cluster.createDatabase('drain');
    try {
      const contenders = await install(bench, database);
      const samples = new Samples();
      for (const round of roundsOf(bench)) {
        for (const concurrency of concurrencies) {
          const what = `${concurrency} in flight`;
          const limit = await raw(bench, rows, concurrency);
          samples.add({ name: 'undici alone', role: 'limit', what, unit: 'rows/s' }, limit);
          for (const contender of rotated(contenders, round)) {
            await contender.backlog(rows);
            await database.query('checkpoint');
            const { perSecond, workerMicros, databaseMicros } = await drained(bench, contender, rows, concurrency);
            bench.log(`round ${round + 1}, ${what}, ${contender.name}: ${Math.round(perSecond)}/s`);
            const { name, role } = contender;
            samples.add({ name, role, what, unit: 'rows/s' }, perSecond);
            const spent = `processor time, ${what}`;
            samples.add({ name, role, what: spent, unit: 'µs a row in the process' }, workerMicros);
            samples.add({ name, role, what: spent, unit: 'µs a row in the database' }, databaseMicros);
          }
        }
      }
      const goals = concurrencies.flatMap((concurrency) => goalsOf(samples, `${concurrency} in flight`));
      const notes = [`${rows} rows in each round.`];
      const shown = concurrencies.map((concurrency) => `${concurrency} in flight`);
      return { number: 1, title: drain.title, figures: samples.figures, goals, shown, notes };
    } finally {
      await database.drop();
    }
  },
};

interface Drained {
  readonly perSecond: number;
  readonly workerMicros: number;
  readonly databaseMicros: number;
}

async function drained(bench: Bench, contender: Contender, rows: number, concurrency: number): Promise<Drained> {
  let child: Child | null = null;
  const spent = () => ({ worker: child?.processorMs() ?? 0, database: bench.cluster.processorMs() });
  // Without what starting up takes.
  let before = spent();
  const { arrivals } = bench.receiver.expect(rows, () => {
    before = spent();
  });
  child = await contender.start({ target: `${bench.receiver.url}/hook`, concurrency, tuned: 'throughput' });
  const arrived = await arrivals;
  while (!(await contender.idle())) await sleep(2);
  const ended = monotonicMs();
  const after = spent();
  await child.stop();
  requireAll(arrived, rows);
  const micros = (ms: number) => (ms * 1_000) / rows;
  return {
    perSecond: (rows * 1_000) / (ended - arrived.firstAt),
    workerMicros: micros(after.worker - before.worker),
    databaseMicros: micros(after.database - before.database),
  };
}

/** @returns requests per second */
async function raw(bench: Bench, rows: number, concurrency: number): Promise<number> {
  const { arrivals } = bench.receiver.expect(rows);
  const script = new URL('../support/raw-undici.ts', import.meta.url).pathname;
  const env = {
    TARGET_URL: `${bench.receiver.url}/hook`,
    COUNT: String(rows),
    CONCURRENCY: String(concurrency),
    BODY_BYTES: String(bodyBytes),
  };
  const { child } = await startChild(process.execPath, ['--import', 'tsx', script], /^ready/, env);
  const { firstAt, lastAnsweredAt } = await arrivals;
  await child.stop();
  return (rows * 1_000) / (lastAnsweredAt - firstAt);
}

function goalsOf(samples: Samples, what: string): Goal[] {
  const mine = samples.of('pg-observers', what);
  const limit = { text: `≥ 0.5× undici alone, ${what}`, samples: ratios(mine, samples.of('undici alone', what)) };
  const goals: Goal[] = [{ ...limit, unit: '×', bound: { atLeast: 0.5 } }];
  const rivals = samples.withRole('rival', what);
  if (rivals.length === 0) return goals;
  const better = { text: `≥ 2× the better rival, ${what}`, samples: ratios(mine, bestOf(rivals, 'higher')) };
  return [{ ...better, unit: '×', bound: { atLeast: 2 } }, ...goals];
}
