/**
 * From the moment the writer knows that its transaction has committed until the receiver sees the request: single changes on an
 * idle system, and 500 a second. One contender runs at a time.
 */
import type pg from 'pg';
import { type Bench, type BenchCase, install, roundsOf, sized } from '../support/bench.ts';
import type { BenchDatabase } from '../support/cluster.ts';
import { bareListener, type Contender } from '../support/contenders.ts';
import { monotonicMs, quantile, range, rotated, sleep } from '../support/figures.ts';
import { type Arrivals, requireAll } from '../support/receiver.ts';
import { bestOf, type Goal, type Role, ratios, Samples } from '../support/result.ts';

type Contestant = Pick<Contender, 'name' | 'table' | 'start'> & { readonly role: Role };

const perSecond = 500;
const quantiles = { p50: 0.5, p99: 0.99 } as const;
const loads = ['idle', `${perSecond}/s`] as const;

const whats = loads.flatMap((load) => Object.keys(quantiles).map((name) => `${load}, ${name}`));

export const latency: BenchCase = {
  number: 2,
  title: 'From commit to the receiver',
  run: async (bench) => {
    const database = await bench.cluster.createDatabase('latency');
    try {
      const bare = bareListener(database);
      await bare.install();
      const contestants: Contestant[] = [{ ...bare, role: 'limit' }, ...(await install(bench, database))];
      const samples = new Samples();
      const ids = { next: 1 };
      for (const round of roundsOf(bench)) {
        for (const contestant of rotated(contestants, round)) {
          const target = `${bench.receiver.url}/hook`;
          const child = await contestant.start({ target, concurrency: 20, tuned: 'latency' });
          for (const load of loads) {
            const change = { bench, database, table: contestant.table, ids };
            const took = load === 'idle' ? await whileIdle(change) : await underLoad(change);
            for (const [name, q] of Object.entries(quantiles)) {
              const ms = quantile(took, q);
              const { name: who, role } = contestant;
              samples.add({ name: who, role, what: `${load}, ${name}`, unit: 'ms' }, ms);
              bench.log(`round ${round + 1}, ${load}, ${name}, ${who}: ${ms.toFixed(1)} ms`);
            }
          }
          await child.stop();
        }
      }
      const notes = [
        `${changesOf(bench)} single changes a round, one every 30 to 60 ms; ${perSecond}/s for ${secondsOf(bench)} s.`,
      ];
      const goals = goalsOf(samples, bare.name);
      return { number: 2, title: latency.title, figures: samples.figures, goals, shown: whats, notes };
    } finally {
      await database.drop();
    }
  },
};

const changesOf = (bench: Bench) => sized(bench, 150, 60, 5);
const secondsOf = (bench: Bench) => sized(bench, 6, 3, 0.5);

interface Changes {
  readonly bench: Bench;
  readonly database: BenchDatabase;
  readonly table: string;
  readonly ids: { next: number };
}

/** @returns milliseconds of each change */
async function whileIdle({ bench, database, table, ids }: Changes): Promise<number[]> {
  const client = await database.connect();
  const warmUp = sized(bench, 20, 20, 2);
  const count = warmUp + changesOf(bench);
  const { arrivals } = bench.receiver.expect(count);
  const committed = new Map<number, number>();
  for (const n of range(count)) {
    // Not in step with anybody's poll.
    await sleep(30 + ((n * 7) % 31));
    await insert(client, table, ids.next, committed);
    ids.next += 1;
  }
  const took = latencies(await arrivals, committed);
  await client.end();
  return took.slice(warmUp);
}

/** At a fixed rate, whatever the answers take: a closed loop would wait for the slow ones, and not see their queue. */
async function underLoad({ bench, database, table, ids }: Changes): Promise<number[]> {
  const pool = database.pool(8);
  const count = Math.round((0.5 + secondsOf(bench)) * perSecond);
  const { arrivals } = bench.receiver.expect(count);
  const committed = new Map<number, number>();
  const began = performance.now();
  const inserts: Promise<void>[] = [];
  while (inserts.length < count) {
    const due = Math.min(count, Math.floor(((performance.now() - began) * perSecond) / 1_000) + 1);
    while (inserts.length < due) {
      inserts.push(insert(pool, table, ids.next, committed));
      ids.next += 1;
    }
    await sleep(1);
  }
  await Promise.all(inserts);
  const took = latencies(await arrivals, committed);
  await pool.end();
  return took.slice(perSecond / 2);
}

async function insert(
  client: pg.Client | pg.Pool,
  table: string,
  id: number,
  committed: Map<number, number>,
): Promise<void> {
  const text = `insert into ${table} values ($1, 'paid', 1.5, 'customer@example.com', $2)`;
  await client.query({ name: table, text, values: [id, 'x'.repeat(140)] });
  committed.set(id, monotonicMs());
}

/** In the order of the commits. The request may be there before the writer has its answer: that is 0. */
function latencies(arrivals: Arrivals, committed: ReadonlyMap<number, number>): number[] {
  requireAll(arrivals, committed.size);
  const arrivedAt = new Map(arrivals.arrivedAt.map(([row, at]) => [Number.parseInt(row, 10), at]));
  return [...committed].map(([id, at]) => Math.max(0, (arrivedAt.get(id) ?? Number.NaN) - at));
}

function goalsOf(samples: Samples, bare: string): Goal[] {
  const mine = (what: string) => samples.of('pg-observers', what);
  const goals: Goal[] = [
    {
      text: 'p50 ≤ 2× bare, idle',
      samples: ratios(mine('idle, p50'), samples.of(bare, 'idle, p50')),
      unit: '×',
      bound: { atMost: 2 },
    },
    { text: 'p99 ≤ 20 ms, idle', samples: mine('idle, p99'), unit: 'ms', bound: { atMost: 20 } },
  ];
  for (const what of whats) {
    const rivals = samples.withRole('rival', what);
    if (rivals.length === 0) continue;
    const text = `below the better rival, ${what}`;
    goals.push({ text, samples: ratios(mine(what), bestOf(rivals, 'lower')), unit: '×', bound: { atMost: 1 } });
  }
  return goals;
}
