/**
 * What capture costs the writer: the same statements on a table without and with our triggers, taking turns, so that both
 * meet the same minutes of the machine.
 *
 *   npm run bench:capture [-- ROUNDS]      default 15; BENCH_DATABASE_URL: another server than an embedded one
 *
 * Bulk: 20,000 rows in one statement. Single: one row per transaction, by one and by eight clients, as a prepared
 * statement; flushes to disk are on. A row-level trigger that does pg_notify with the row is the usual recipe, beside it.
 */

import pg from 'pg';
import { defineConfig } from '../src/config/index.ts';
import { applyCapture } from '../src/transport/postgres/capture-plan.ts';
import { createPool } from '../src/transport/postgres/connection.ts';
import { openBenchDatabase } from './support/database.ts';
import { markdownTable, median } from './support/figures.ts';

const rounds = Number(process.argv[2] ?? 15);
const bulkRows = 20_000;
const singleMs = 1_000;
const tables = ['none', 'observed', 'filtered', 'notified'] as const;
type Table = (typeof tables)[number];

const schema = `
  ${tables.map((t) => `create table ${t} (id int primary key, a text, b numeric);`).join('\n')}
  create function notify_row() returns trigger language plpgsql as $$
    begin perform pg_notify('recipe', row_to_json(new)::text); return null; end $$;
  create trigger recipe after insert or update on notified for each row execute function notify_row();`;

const statements = {
  insert: (t: Table) => `insert into ${t} select n, 'text ' || n, n * 1.5 from generate_series(1, ${bulkRows}) n`,
  update: (t: Table) => `update ${t} set b = b + 1`,
  delete: (t: Table) => `delete from ${t}`,
};

async function bulk(url: string): Promise<string> {
  const client = new pg.Client(url);
  await client.connect();
  const times = new Map<string, number[]>();
  const compared = tables.filter((t) => t !== 'notified');
  for (let round = 0; round <= rounds; round++) {
    for (const table of compared) {
      await client.query('truncate observers.events');
      for (const [name, sql] of Object.entries(statements)) {
        const began = performance.now();
        await client.query(sql(table));
        // The first round warms up.
        if (round > 0)
          times.set(`${name} ${table}`, [...(times.get(`${name} ${table}`) ?? []), performance.now() - began]);
      }
      await client.query(`vacuum ${table}`);
    }
  }
  await client.end();
  const rows = Object.keys(statements).map((name) => {
    const [none, observed, filtered] = compared.map((t) => median(times.get(`${name} ${t}`) ?? [])) as [
      number,
      number,
      number,
    ];
    const ratio = (ms: number) => `${ms.toFixed(0)} ms (${(ms / none).toFixed(1)}×)`;
    const perRow = `${(((observed - none) * 1_000) / bulkRows).toFixed(1)} µs`;
    return [name, `${none.toFixed(0)} ms`, ratio(observed), ratio(filtered), perRow];
  });
  return markdownTable(['20,000 rows', 'no trigger', 'observed', 'with `where`', 'per row'], rows);
}

async function single(url: string): Promise<string> {
  const rows: string[][] = [];
  for (const clients of [1, 8]) {
    const rates = new Map<Table, number[]>();
    for (let round = 0; round < 3; round++) {
      for (const table of ['none', 'observed', 'notified'] as const) {
        const rate = await insertsPerSecond(url, table, clients);
        rates.set(table, [...(rates.get(table) ?? []), rate]);
      }
    }
    const perSecond = (t: Table) => `${median(rates.get(t) ?? []).toFixed(0)}/s`;
    rows.push([
      `${clients} client${clients > 1 ? 's' : ''}`,
      perSecond('none'),
      perSecond('observed'),
      perSecond('notified'),
    ]);
  }
  return markdownTable(['single inserts', 'no trigger', 'observed', 'row trigger with pg_notify'], rows);
}

let id = 0;

async function insertsPerSecond(url: string, table: Table, clients: number): Promise<number> {
  const pool = new pg.Pool({ connectionString: url, max: clients });
  // end() says good-bye and does not wait: the database may be dropped before its connections are gone.
  pool.on('error', () => {});
  const insert = { name: table, text: `insert into ${table} values ($1, 'some text', 1.5)` };
  const until = performance.now() + singleMs;
  let done = 0;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (; performance.now() < until; done++) await pool.query({ ...insert, values: [++id + bulkRows] });
    }),
  );
  await pool.end();
  return (done * 1_000) / singleMs;
}

const database = await openBenchDatabase();
const pool = createPool(database.url, 2);
await pool.query(`set search_path = public; ${schema}`);
await applyCapture(
  pool,
  defineConfig({
    version: 1,
    database: database.url,
    sources: { observed: { table: 'observed' }, filtered: { table: 'filtered', where: 'b > 10' } },
  }),
);
await pool.end();
console.log(`PostgreSQL ${database.version}, medians of ${rounds} rounds\n`);
console.log(`${await bulk(database.url)}\n`);
console.log(await single(database.url));
await database.close();
