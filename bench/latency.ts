/**
 * From COMMIT to the receiver's request, on an idle system: single changes, one at a time, with pauses between them.
 * Alternates in one run with the bare minimum (LISTEN callback → POST), so that both meet the same minutes of the machine.
 *
 *   npm run bench:latency [-- CHANGES]      default 1,000 of each
 *
 * The writer and the receiver share this process and its clock; the program under test is a process of its own. Time
 * runs from the moment the writer knows that its transaction has committed.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { openBenchDatabase } from './support/database.ts';
import { markdownTable, quantile } from './support/figures.ts';

const changes = Number(process.argv[2] ?? 1_000);
const rounds = 5;
const warmUp = 20;
const pauseMs = 45;

/** Resolves the waiting change when its request comes in; `delayMs` is how long the receiver then takes. */
async function startReceiver(delayMs: number) {
  const arrivals = new Map<string, (at: number) => void>();
  const server = createServer(async (request, response) => {
    const at = performance.now();
    let body = '';
    for await (const chunk of request) body += chunk;
    const id = /"id": ?(\d+)/.exec(body.slice(Math.max(0, body.indexOf('"new"'))))?.[1] ?? '';
    arrivals.get(`${request.url} ${id}`)?.(at);
    setTimeout(() => response.writeHead(200).end('ok'), delayMs);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    arrival: (path: string, id: number) =>
      new Promise<number>((resolve) => {
        arrivals.set(`${path} ${id}`, resolve);
      }),
    close: () => server.close(),
  };
}

async function startChild(args: readonly string[], ready: RegExp): Promise<ChildProcess> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) if (ready.test(line)) break;
  child.stdout.resume();
  return child;
}

/** One change, and when its request arrived after the commit. Milliseconds. */
async function measure(client: pg.Client, table: string, id: number, arrival: Promise<number>): Promise<number> {
  await client.query(`insert into public.${table} (id, status) values ($1, 'paid')`, [id]);
  const committed = performance.now();
  return Math.max(0, (await arrival) - committed);
}

const database = await openBenchDatabase();
const receiver = await startReceiver(0);
const slow = await startReceiver(100);
const folder = mkdtempSync(join(tmpdir(), 'pg-observers-bench-'));
const client = new pg.Client(database.url);
await client.connect();
const children: ChildProcess[] = [];
try {
  await client.query(`
    create table public.bare (id bigint primary key, status text);
    create table public.observed (id bigint primary key, status text);
    create table public.fanned (id bigint primary key, status text);
    create function public.notify_bare() returns trigger language plpgsql as
      $$ begin perform pg_notify('bare', json_build_object('new', new)::text); return null; end $$;
    create trigger notify after insert on public.bare for each row execute function public.notify_bare()`);
  const file = join(folder, 'observers.yaml');
  writeFileSync(
    file,
    `version: 1
database: ${database.url}
sources: { observed: { table: observed }, fanned: { table: fanned } }
observers:
  one: { source: observed, actions: [{ webhook: "${receiver.url}/observed" }] }
  three:
    source: fanned
    actions: [{ webhook: "${slow.url}/a" }, { webhook: "${slow.url}/b" }, { webhook: "${slow.url}/c" }]
settings: { listen: off }
`,
  );
  children.push(
    await startChild(
      ['--import', 'tsx', 'bench/support/bare-listener.ts', database.url, 'bare', `${receiver.url}/bare`],
      /ready/,
    ),
    await startChild(['dist/cli/main.js', 'run', '--config', file], /observing \d/),
  );

  const samples: Record<'bare' | 'observed', number[]> = { bare: [], observed: [] };
  let id = 0;
  for (const _round of Array(rounds)) {
    for (const table of ['bare', 'observed'] as const) {
      for (let n = 0; n < changes / rounds + warmUp; n++) {
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
        id += 1;
        const ms = await measure(client, table, id, receiver.arrival(`/${table}`, id));
        if (n >= warmUp) samples[table].push(ms);
      }
    }
  }

  // Three actions of one event to receivers that take 100 ms: the last request begins with the first, not after it.
  const spread: number[] = [];
  for (let n = 0; n < 20; n++) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    id += 1;
    const arrivals = ['/a', '/b', '/c'].map((path) => slow.arrival(path, id));
    await client.query(`insert into public.fanned (id, status) values ($1, 'paid')`, [id]);
    const committed = performance.now();
    spread.push(Math.max(...(await Promise.all(arrivals))) + 100 - committed);
  }

  const row = (name: string, values: readonly number[]) => [
    name,
    ...[0.5, 0.9, 0.99, 1].map((q) => `${quantile(values, q).toFixed(2)}`),
    `${(quantile(values, 0.5) / quantile(samples.bare, 0.5)).toFixed(2)}×`,
  ];
  console.log(
    `From COMMIT to the request, ${changes} single changes each, PostgreSQL ${database.version}, milliseconds\n`,
  );
  console.log(
    markdownTable(
      ['', 'median', 'p90', 'p99', 'max', 'median ÷ bare'],
      [row('bare LISTEN → POST, nothing durable', samples.bare), row('pg-observers', samples.observed)],
    ),
  );
  console.log(
    `\nThree actions of one event, receivers that take 100 ms: all answered ${quantile(spread, 0.5).toFixed(0)} ms after the commit (median of 20; one after the other: 300 ms)`,
  );
} finally {
  for (const child of children) child.kill('SIGTERM');
  await Promise.all(children.map((child) => child.exitCode ?? once(child, 'exit')));
  await client.end();
  receiver.close();
  slow.close();
  rmSync(folder, { recursive: true });
  await database.close();
}
