/**
 * What writers feel while a large day is archived and dropped.
 *
 *   npm run bench:retention -- [--rows 1000000] [--writers 8] [--seconds 20] [--archive directory]
 *
 * Each writer commits one event after the other. First they are alone; then the day goes.
 */

import { parseArgs } from 'node:util';
import { openArchive } from '../src/transport/archive/directory-archive.ts';
import { createPool } from '../src/transport/postgres/connection.ts';
import { migrate } from '../src/transport/postgres/migrations.ts';
import { enforceRetention } from '../src/transport/postgres/retention.ts';
import { type BenchDatabase, startCluster } from './support/cluster.ts';
import { number } from './support/tables.ts';

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000' },
    writers: { type: 'string', default: '8' },
    seconds: { type: 'string', default: '20' },
    archive: { type: 'string' },
  },
});
const rowsPerStatement = 250_000;

interface Phase {
  readonly tps: number;
  readonly p99: number;
  readonly worst: number;
}

/** A day of nine days ago with so many small events, all routed. */
async function fill(database: BenchDatabase, rows: number): Promise<void> {
  const { rows: days } = await database.query<{ name: string; from: string; to: string }>(
    `select 'events_' || to_char(current_date - 9, 'YYYYMMDD') as name, (current_date - 9)::text as from, (current_date - 8)::text as to`,
  );
  const { name, from, to } = days[0] ?? {};
  await database.query(
    `create table observers.${name} partition of observers.events for values from ('${from} 00:00Z') to ('${to} 00:00Z')`,
  );
  for (let done = 0; done < rows; done += rowsPerStatement) {
    await database.query(
      `insert into observers.events (source, operation, key, new, created_at)
       select 'orders', 'insert', n::text, jsonb_build_object('id', n, 'status', 'open', 'total', n * 0.5),
              '${from} 12:00Z'::timestamptz + n * interval '1 us'
       from generate_series($1::int, $2::int) n`,
      [done + 1, Math.min(rows, done + rowsPerStatement)],
    );
  }
  await database.query(
    'update observers.checkpoints set snapshot = pg_current_snapshot(), target = null, after_id = 0',
  );
}

/** Writers at work for as long as `work` takes. Latencies in milliseconds. */
async function during(database: BenchDatabase, writers: number, work: () => Promise<unknown>): Promise<Phase> {
  const pool = database.pool(writers);
  const took: number[] = [];
  let over = false;
  const began = performance.now();
  const writing = Array.from({ length: writers }, async () => {
    while (!over) {
      const start = performance.now();
      await pool.query("select observers.emit('orders', '{\"n\": 1}')");
      took.push(performance.now() - start);
    }
  });
  await work();
  over = true;
  await Promise.all(writing);
  const seconds = (performance.now() - began) / 1_000;
  await pool.end();
  took.sort((a, b) => a - b);
  return { tps: took.length / seconds, p99: took[Math.floor(took.length * 0.99)] ?? 0, worst: took.at(-1) ?? 0 };
}

const tell = (name: string, { tps, p99, worst }: Phase) =>
  console.log(`${name.padEnd(22)} ${number(tps)} commits/s, p99 ${number(p99)} ms, worst ${number(worst)} ms`);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const cluster = await startCluster();
try {
  console.log(`PostgreSQL ${cluster.version}`);
  const database = await cluster.createDatabase('retention');
  const pool = createPool(database.url, 2);
  await migrate(pool);
  await fill(database, Number(values.rows));
  const writers = Number(values.writers);
  const before = await during(database, writers, () => pause(Number(values.seconds) * 1_000));
  tell('alone', before);
  const policy = { eventsMs: 604_800_000, attemptsMs: 604_800_000, maxBytes: null, archive: null };
  const archive = values.archive === undefined ? null : openArchive(values.archive);
  const began = performance.now();
  let tookMs = 0;
  const dropping = await during(database, writers, async () => {
    const { steps } = await enforceRetention(pool, { policy, archive });
    tookMs = performance.now() - began;
    for (const { partition, result, bytes, why } of steps)
      console.log(`${partition} (${number(bytes / 1e6)} MB) ${result} after ${number(tookMs)} ms ${why ?? ''}`);
    // What the drop leaves behind: files to be unlinked, caches to be read again.
    await pause(2_000);
  });
  tell('while the day goes', dropping);
  console.log(
    `ratio: commits/s ${number(dropping.tps / before.tps)}, p99 ${number(dropping.p99 / before.p99)}, worst ${number(dropping.worst / before.worst)}`,
  );
  await pool.end();
  await database.drop();
} finally {
  await cluster.stop();
}
