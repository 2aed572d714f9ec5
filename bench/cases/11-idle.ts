/** What an idle sidecar costs, and what a million deliveries leave behind in the tables that are rewritten all the time. */
import { type Bench, type BenchCase, sized } from '../support/bench.ts';
import type { BenchDatabase } from '../support/cluster.ts';
import { type Contender, ours } from '../support/contenders.ts';
import { range, sleep } from '../support/figures.ts';
import { rowsSql } from '../support/orders.ts';
import { countQuestions } from '../support/question-counter.ts';
import { Samples } from '../support/result.ts';

const tables = ['deliveries', 'checkpoints'] as const;

export const idle: BenchCase = {
  number: 11,
  title: 'Idle cost, and what deliveries leave behind',
  run: async (bench) => {
    const database = await bench.cluster.createDatabase('idle');
    try {
      const contender = ours(database);
      await contender.install();
      const samples = new Samples();
      await whileIdle(bench, database, samples);
      const grown = await afterDeliveries(bench, database, contender, samples);
      const of = (what: string) => samples.of('pg-observers', what);
      const goals = [
        { text: 'below 1 % of a core', samples: of('processor, the process'), unit: '%', bound: { atMost: 1 } },
        { text: 'below 3 queries/s', samples: of('queries'), unit: 'queries/s', bound: { atMost: 3 } },
        ...tables.map((table) => ({
          text: `${table} below 2× their least`,
          samples: [grown.get(table) ?? Number.NaN],
          unit: '×',
          bound: { atMost: 2 },
        })),
      ];
      const notes = [
        `${secondsOf(bench)} s of idling, with what is done once a minute. Queries are the statements that the sidecar sends, counted on its connections.`,
        `${batchesOf(bench) * batchOf(bench)} deliveries, ${batchOf(bench)} queued at a time. The least is what a table takes with the first of these batches queued; at the end it is measured with another one queued, after up to ${quietSecondsOf(bench)} s in which the sidecar was left alone, and a plain VACUUM.`,
      ];
      return { number: 11, title: idle.title, figures: samples.figures, goals, shown: [], notes };
    } finally {
      await database.drop();
    }
  },
};

const secondsOf = (bench: Bench) => sized(bench, 60, 20, 1.5);
/** Its housekeeping looks once a minute, and must have seen a quiet one. */
const quietSecondsOf = (bench: Bench) => sized(bench, 200, 0, 0);
const batchOf = (bench: Bench) => sized(bench, 20_000, 5_000, 200);
const batchesOf = (bench: Bench) => sized(bench, 50, 6, 2);

async function whileIdle(bench: Bench, database: BenchDatabase, samples: Samples): Promise<void> {
  const questions = await countQuestions(database.url);
  const contender = ours({ ...database, url: questions.url });
  const sidecar = await contender.start({ target: bench.receiver.url, concurrency: 20, tuned: 'latency' });
  await sleep(sized(bench, 5_000, 3_000, 500));
  const seconds = secondsOf(bench);
  const before = { own: sidecar.processorMs(), database: bench.cluster.processorMs(), queries: questions.count };
  await sleep(seconds * 1_000);
  const percent = (ms: number) => ms / (seconds * 10);
  const add = (what: string, unit: string, sample: number) =>
    samples.add({ name: 'pg-observers', role: 'ours', what, unit }, sample);
  add('processor, the process', '%', percent(sidecar.processorMs() - before.own));
  add('processor, the server', '%', percent(bench.cluster.processorMs() - before.database));
  add('queries', 'queries/s', (questions.count - before.queries) / seconds);
  add('memory', 'MB', sidecar.residentMb().now);
  await sidecar.stop();
  questions.close();
}

/** @returns by table, its size beside its least */
async function afterDeliveries(
  bench: Bench,
  database: BenchDatabase,
  contender: Contender,
  samples: Samples,
): Promise<Map<string, number>> {
  const rows = batchOf(bench);
  const sidecar = () =>
    contender.start({ target: `${bench.receiver.url}/hook`, concurrency: 100, tuned: 'throughput' });
  const least = await sizesWhileQueued(bench, database, contender, rows);
  const running = await sidecar();
  for (const batch of range(batchesOf(bench))) {
    const { arrivals } = bench.receiver.expect(rows);
    await database.query(`insert into public.orders ${rowsSql}`, [1 + (batch + 1) * rows, (batch + 2) * rows]);
    await arrivals;
    while (!(await contender.idle())) await sleep(5);
  }
  await leftAlone(database, quietSecondsOf(bench));
  await running.stop();
  for (const table of tables) await database.query(`vacuum observers.${table}`);
  const most = await sizesWhileQueued(bench, database, contender, rows, 2 + batchesOf(bench));
  for (const table of tables) {
    const what = `${table}, with ${rows.toLocaleString('en')} queued`;
    samples.add({ name: 'at first', role: 'limit', what, unit: 'MB' }, (least.get(table) ?? 0) / 1e6);
    samples.add({ name: 'pg-observers, in the end', role: 'ours', what, unit: 'MB' }, (most.get(table) ?? 0) / 1e6);
  }
  return new Map(tables.map((table) => [table, (most.get(table) ?? Number.NaN) / (least.get(table) ?? Number.NaN)]));
}

/** Until the sidecar has given back what it gives back, or for so long. */
async function leftAlone(database: BenchDatabase, seconds: number): Promise<void> {
  const indexBytes = async () => {
    const { rows } = await database.query<{ bytes: number }>(
      `select pg_indexes_size('observers.deliveries')::float8 as bytes`,
    );
    return rows[0]?.bytes ?? Number.NaN;
  };
  const before = await indexBytes();
  for (let waited = 0; waited < seconds && (await indexBytes()) > before / 2; waited++) await sleep(1_000);
}

/** Bytes with indexes, with so many deliveries queued for a receiver that hangs; they are forgotten afterwards. */
async function sizesWhileQueued(
  bench: Bench,
  database: BenchDatabase,
  contender: Contender,
  rows: number,
  batch = 0,
): Promise<Map<string, number>> {
  const target = `${bench.receiver.url}/delay/3600000/hook`;
  const sidecar = await contender.start({ target, concurrency: 1, tuned: 'throughput' });
  await database.query(`insert into public.orders ${rowsSql}`, [1 + batch * rows, (batch + 1) * rows]);
  for (let queued = 0; queued < rows; ) {
    await sleep(20);
    const counted = await database.query<{ n: number }>('select count(*)::int as n from observers.deliveries');
    queued = counted.rows[0]?.n ?? 0;
  }
  const { rows: sizes } = await database.query<{ name: string; bytes: number }>(
    `select t as name, pg_total_relation_size('observers.' || t)::float8 as bytes from unnest($1::text[]) t`,
    [tables],
  );
  sidecar.process.kill('SIGKILL');
  await sidecar.stop().catch(() => {});
  await database.query('delete from observers.deliveries');
  await database.query('vacuum observers.deliveries');
  return new Map(sizes.map(({ name, bytes }) => [name, bytes]));
}
