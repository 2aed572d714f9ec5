/**
 * The two statements that every delivery goes through, in batches of 1,000: the routing commit (deliveries queued, checkpoint moved) and
 * the settlement (delivery gone, attempt recorded). Each batch waits for the disk.
 */

import { defineConfig } from '../../src/config/index.ts';
import { decide } from '../../src/pipeline/decide/decide.ts';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';
import type { ClaimedDelivery, RoutingSession, Settlement } from '../../src/transport/contract.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { createDeliveryQueue } from '../../src/transport/postgres/delivery-queue.ts';
import { openRoutingSession } from '../../src/transport/postgres/routing-session.ts';
import { type BenchCase, roundsOf, sized } from '../support/bench.ts';
import type { BenchDatabase } from '../support/cluster.ts';
import { ours } from '../support/contenders.ts';
import { monotonicMs, range } from '../support/figures.ts';
import { Samples } from '../support/result.ts';

const instance = '00000000-0000-4000-8000-000000000001';
const largestBatch = 1_000;
const rules = new RuleIndex(
  defineConfig({
    version: 1,
    database: 'postgres://localhost/unused',
    sources: { orders: { table: 'orders', operations: ['insert'] } },
    destinations: { hook: { webhook: { url: 'http://127.0.0.1:9' } } },
    observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
  }),
);

export const transport: BenchCase = {
  number: 8,
  title: 'Checkpoint commits and settlements',
  run: async (bench) => {
    const batches = sized(bench, 20, 10, 2);
    const batch = sized(bench, largestBatch, largestBatch, 50);
    const database = await bench.cluster.createDatabase('transport');
    try {
      const contender = ours(database);
      await contender.install();
      await database.query(
        'create table public.limit_rows (id bigint, uid uuid, observer text, action text, at timestamptz)',
      );
      const samples = new Samples();
      for (const _ of roundsOf(bench)) {
        await contender.backlog(batches * batch);
        const rate = (ms: number) => (batches * batch * 1_000) / ms;
        const plain = {
          name: 'INSERT … unnest, no index',
          role: 'limit',
          what: 'rows in batches',
          unit: 'rows/s',
        } as const;
        samples.add(plain, rate(await plainInserts(database, batches, batch)));
        const mine = { name: 'pg-observers', role: 'ours', unit: 'rows/s' } as const;
        samples.add({ ...mine, what: 'queued by the routing commit' }, rate(await commits(database)));
        samples.add({ ...mine, what: 'settled' }, rate(await settlements(database, batch)));
      }
      const goals = ['queued by the routing commit', 'settled'].map((what) => ({
        text: `≥ 30,000 rows/s, ${what}`,
        samples: samples.of('pg-observers', what),
        unit: 'rows/s',
        bound: { atLeast: 30_000 },
      }));
      const notes = [`${batches} batches of ${batch}; one connection.`];
      return { number: 8, title: transport.title, figures: samples.figures, goals, shown: [], notes };
    } finally {
      await database.drop();
    }
  },
};

async function plainInserts(database: BenchDatabase, batches: number, batch: number): Promise<number> {
  const client = await database.connect();
  const ids = range(batch);
  const uids = ids.map((n) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`);
  const columns = [ids, uids, ids.map(() => 'all'), ids.map(() => 'webhook-1')];
  const text = `insert into public.limit_rows select *, now() from unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[])`;
  const began = monotonicMs();
  for (const _ of range(batches)) await client.query({ name: 'plain', text, values: columns });
  const tookMs = monotonicMs() - began;
  await client.end();
  return tookMs;
}

/** Routes the whole log, a delivery for each event. @returns milliseconds spent in commits */
async function commits(database: BenchDatabase): Promise<number> {
  const session = await openRoutingSession(database.url);
  if (session === null) throw new Error('another router is at it');
  let tookMs = 0;
  for (let more = true; more; ) {
    const { committedMs, routed } = await commitOnce(session);
    tookMs += committedMs;
    more = routed;
  }
  await session.close();
  return tookMs;
}

async function commitOnce(session: RoutingSession): Promise<{ committedMs: number; routed: boolean }> {
  const events = await session.read();
  const decided = decide(events, rules);
  const began = monotonicMs();
  if (events.length > 0 && !(await session.commit(decided))) throw new Error('the checkpoint moved');
  return { committedMs: monotonicMs() - began, routed: events.length > 0 };
}

/** Claims and settles the whole queue. @returns milliseconds spent in settlements */
async function settlements(database: BenchDatabase, slots: number): Promise<number> {
  const [durable, claims] = [createPool(database.url, 1), createPool(database.url, 1, 'off')];
  const queue = createDeliveryQueue({ durable, claims }, instance);
  let tookMs = 0;
  for (;;) {
    const { claimed } = await queue.claim([{ destination: 'hook', slots }]);
    if (claimed.length === 0) break;
    const batch = claimed.map(delivered);
    const began = monotonicMs();
    const settled = await queue.settle(batch);
    tookMs += monotonicMs() - began;
    if (settled.size !== batch.length) throw new Error(`${settled.size} of ${batch.length} were settled`);
  }
  await Promise.all([durable.end(), claims.end()]);
  return tookMs;
}

const delivered = ({ delivery }: ClaimedDelivery): Settlement => ({
  delivery,
  kind: 'delivered',
  startedAt: Date.now(),
  durationMs: 1.5,
  delayMs: 0,
  reason: null,
  status: 204,
  errorClass: null,
  errorMessage: null,
  responseExcerpt: null,
  request: undefined,
  keepAttempt: true,
  hold: null,
  holdsLane: false,
});
