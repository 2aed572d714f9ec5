/**
 * npm run bench:batch [-- ROWS]: deliveries per second with `batch` and without, taking turns: the same backlog, the same receiver,
 * which reads every request to its end. From the first arrival until the queue is empty.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startCluster } from './support/cluster.ts';
import { sleep } from './support/figures.ts';
import { columns, rowsSql } from './support/orders.ts';
import { secret } from './support/receiver.ts';
import { apply, type Rules, startSidecar } from './support/sidecar.ts';
import { markdownTable, number } from './support/tables.ts';

const rows = Number(process.argv[2] ?? 20_000);
const rounds = 3;
const cluster = await startCluster();
const database = await cluster.createDatabase('batch');
let requests = 0;
let firstAt: number | null = null;
const server = createServer((request, response) => {
  firstAt ??= performance.now();
  requests += 1;
  request.resume().on('end', () => response.writeHead(204).end());
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;

const rules = (batch: { max: number; wait: string } | null): Rules => ({
  version: 1,
  database: database.url,
  sources: { orders: { table: 'orders', operations: ['insert'] } },
  destinations: { hook: { webhook: { url, secret }, concurrency: batch === null ? 100 : 4, ...(batch && { batch }) } },
  observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
});

await database.query(`create table public.orders (${columns})`);
await apply(rules(null));
const figures: string[][] = [];
for (let round = 0; round <= rounds; round += 1) {
  for (const [name, batch] of [
    ['one each', null],
    ['batch of 100', { max: 100, wait: '1s' }],
  ] as const) {
    await database.query('truncate public.orders, observers.events, observers.deliveries, observers.attempts');
    await database.query(`insert into public.orders ${rowsSql}`, [1, rows]);
    await database.query('vacuum analyze observers.events, observers.deliveries');
    [requests, firstAt] = [0, null];
    const sidecar = await startSidecar(rules(batch));
    while (!(await isDone())) await sleep(5);
    const seconds = (performance.now() - (firstAt ?? 0)) / 1_000;
    await sidecar.stop();
    // The first round warms up.
    if (round > 0) figures.push([name, number(rows / seconds), String(requests)]);
  }
}
console.log(markdownTable(['', 'deliveries/s', 'requests'], figures));
server.close();
await database.drop();
await cluster.stop();

async function isDone(): Promise<boolean> {
  if (firstAt === null) return false;
  const { rows: found } = await database.query<{ n: number }>(
    'select (select count(*) from observers.attempts)::int as n where not exists (select from observers.deliveries)',
  );
  return found[0]?.n === rows;
}
