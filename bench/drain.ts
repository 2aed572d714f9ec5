/**
 * How fast a full queue is drained: deliveries of 250-byte events to a local receiver in a process of its own, each
 * claimed, signed with nothing, sent, answered, settled and written into the history. Alternates in one run with bare
 * undici posting the same bodies as often, so that both meet the same minutes of the machine.
 *
 *   npm run bench:drain [-- DELIVERIES [CONCURRENCY]]      default 50,000 and 100, three rounds of each
 *
 * For a profile: node --cpu-prof --import tsx bench/drain.ts
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import pg from 'pg';
import { Pool } from 'undici';
import { createEngine, defineConfig } from '../src/index.ts';
import { openBenchDatabase } from './support/database.ts';
import { markdownTable, median } from './support/figures.ts';

const deliveries = Number(process.argv[2] ?? 50_000);
const concurrency = Number(process.argv[3] ?? 100);
const rounds = 3;

async function startReceiver(): Promise<{ child: ChildProcess; url: string }> {
  const source = `
    const server = require('node:http').createServer((request, response) => {
      request.resume().on('end', () => response.writeHead(204).end());
    });
    server.keepAliveTimeout = 65_000;
    server.listen(0, '127.0.0.1', () => console.log('http://127.0.0.1:' + server.address().port));`;
  const child = spawn(process.execPath, ['--eval', source], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout, 'data');
  return { child, url: String(line).trim() };
}

/** Events that count as routed, and their deliveries, ready. */
async function fill(client: pg.Client): Promise<void> {
  await client.query(`
    truncate observers.events, observers.deliveries, observers.attempts;
    insert into observers.events (source, operation, key, payload)
    select 'orders', 'emit', n::text, jsonb_build_object('id', n, 'status', 'paid', 'note', repeat('x', 200))
    from generate_series(1, ${deliveries}) n;
    insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, state, rule_version)
    select id, created_at, uid, 'all', 'webhook-1', 'hook', 'ready', 'bench' from observers.events order by id`);
  await client.query('update observers.checkpoints set snapshot = pg_current_snapshot(), target = null, after_id = 0');
  await client.query('vacuum analyze observers.events, observers.deliveries');
}

/** From the first outcome until the queue is empty. @returns deliveries per second */
async function drain(client: pg.Client, database: string, url: string): Promise<number> {
  await fill(client);
  const config = defineConfig({
    version: 1,
    database,
    sources: { orders: { topic: 'orders' } },
    destinations: { hook: { webhook: { url }, concurrency } },
    observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    settings: { listen: 'off' },
  });
  let began = 0;
  let ended = 0;
  const engine = createEngine(config, {
    telemetry: ({ type }) => {
      if (type !== 'attempt.finished') return;
      if (ended++ === 0) began = performance.now();
    },
  });
  await engine.start();
  for (let left = true; left; ) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    if (ended < deliveries) continue;
    left = (await client.query('select from observers.deliveries limit 1')).rowCount !== 0;
  }
  const tookMs = performance.now() - began;
  await engine.stop();
  const { rows } = await client.query<{ n: number }>('select count(*)::int as n from observers.attempts');
  if (rows[0]?.n !== deliveries) throw new Error(`${rows[0]?.n} attempts for ${deliveries} deliveries`);
  return deliveries / (tookMs / 1_000);
}

/** The same number of POSTs, nothing durable. @returns requests per second */
async function bare(url: string): Promise<number> {
  const pool = new Pool(url, { connections: concurrency });
  const body = JSON.stringify({ id: 'x'.repeat(36), data: { payload: { id: 1, note: 'x'.repeat(350) } } });
  const headers = { 'content-type': 'application/json' };
  let left = deliveries;
  const began = performance.now();
  const post = async () => {
    while (left-- > 0) await (await pool.request({ path: '/', method: 'POST', headers, body })).body.dump();
  };
  await Promise.all(Array.from({ length: concurrency }, post));
  const tookMs = performance.now() - began;
  await pool.close();
  return deliveries / (tookMs / 1_000);
}

const database = await openBenchDatabase();
const receiver = await startReceiver();
const client = new pg.Client(database.url);
await client.connect();
try {
  const first = createEngine(defineConfig({ version: 1, database: database.url, settings: { listen: 'off' } }));
  await first.start();
  await first.stop();
  const drained: number[] = [];
  const posted: number[] = [];
  for (let round = 0; round < rounds; round++) {
    posted.push(await bare(receiver.url));
    drained.push(await drain(client, database.url, receiver.url));
  }
  const row = (name: string, perSecond: number[]) => [
    name,
    ...[...perSecond, median(perSecond)].map((n) => Math.round(n).toLocaleString('en')),
  ];
  console.log(`PostgreSQL ${database.version}, ${deliveries} deliveries, concurrency ${concurrency}; per second\n`);
  console.log(
    markdownTable(
      ['', ...drained.map((_, i) => `round ${i + 1}`), 'median'],
      [row('drained', drained), row('bare undici', posted)],
    ),
  );
} finally {
  await client.end();
  receiver.child.kill();
  await database.close();
}
