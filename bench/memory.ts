/**
 * What `pg-observers run` takes in memory while receivers are away and the queue grows, and how the queue fares.
 *
 *   npm run bench:memory -- [--events 200000] [--instances 1] [--scenario refused|hanging|large|bulk|all]
 *                                            [--breaker on|off] [--csv FILE]
 *
 * Scenarios:
 *   refused  the receiver of all events refuses connections; then it returns, and the queue is drained
 *   hanging  it accepts them and never answers
 *   large    50 rows of 10 MB; away, then back
 *   bulk     all events in one transaction; the receiver answers
 *
 * Meanwhile an event for a healthy receiver is emitted four times a second, and timed until it arrives; and what a person
 * asks of the queue is timed: the view, `status`, the first deliveries by time.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { startWebhookReceiver } from '../src/receivers/webhook-receiver.ts';
import { createPool } from '../src/transport/postgres/connection.ts';
import { readDatabaseStatus } from '../src/transport/postgres/status.ts';
import { startCluster } from './support/cluster.ts';
import { type Endpoint, startEndpoint } from './support/endpoint.ts';
import { quantile } from './support/figures.ts';
import { markdownTable } from './support/tables.ts';
import { Timeline } from './support/timeline.ts';

const { values: options } = parseArgs({
  options: {
    events: { type: 'string', default: '200000' },
    instances: { type: 'string', default: '1' },
    scenario: { type: 'string', default: 'all' },
    breaker: { type: 'string', default: 'on' },
    csv: { type: 'string' },
  },
});
const events = Number(options.events);
const instances = Number(options.instances);
const all = ['refused', 'hanging', 'large', 'bulk'] as const;
type Scenario = (typeof all)[number];
const scenarios = options.scenario === 'all' ? all : all.filter((name) => name === options.scenario);
if (scenarios.length === 0) throw new Error(`--scenario is one of: all, ${all.join(', ')}`);
const breaker = options.breaker === 'on' ? ', circuit_breaker: {}' : '';
const eventsPerTransaction = 5_000;
/** How long the queue is watched once everything is routed and nobody takes it. */
const standingMs = 15_000;

const rules = (database: string, down: string, healthy: string) => `
version: 1
database: ${database}
sources:
  orders: { topic: orders }
  pulse: { topic: pulse }
  documents: { table: public.documents }
destinations:
  away: { webhook: { url: "${down}" }, timeout: 5s, concurrency: 100, retry: { attempts: 100, initial: 30s }${breaker} }
  healthy: { webhook: { url: "${healthy}" } }
observers:
  backlog: { source: orders, actions: [{ webhook: away }] }
  large: { source: documents, actions: [{ webhook: away }] }
  pulse: { source: pulse, actions: [{ webhook: healthy }] }
settings: { listen: off }
`;

interface World {
  readonly client: pg.Client;
  readonly pool: pg.Pool;
  readonly endpoint: Endpoint;
  readonly timeline: Timeline;
  readonly report: string[][];
  /** Milliseconds from emit to arrival, of the current phase. */
  pulses: number[];
}

const steps: Record<Scenario, (world: World) => Promise<void>> = {
  refused: (world) => away(world, 'down', fill),
  hanging: (world) => away(world, 'hanging', fill),
  large: (world) => away(world, 'hanging', fillLarge),
  bulk: async (world) => {
    await phase(world, 'commit', () => emit(world, 1, events));
    await phase(world, 'drain', () => drained(world));
  },
};

async function away(world: World, state: 'down' | 'hanging', produce: (world: World) => Promise<void>): Promise<void> {
  await world.endpoint.become(state);
  await phase(world, 'fill', () => produce(world));
  await phase(world, 'route', () => routed(world));
  await phase(world, 'stand', () => sleep(standingMs));
  await world.endpoint.become('up');
  await phase(world, 'drain', () => drained(world));
}

async function fill(world: World): Promise<void> {
  for (let from = 1; from <= events; from += eventsPerTransaction) {
    await emit(world, from, Math.min(events, from + eventsPerTransaction - 1));
  }
}

async function emit({ client }: World, from: number, to: number): Promise<void> {
  await client.query(
    `select count(observers.emit('orders', jsonb_build_object('id', n, 'status', 'paid', 'note', repeat('x', 200)), n::text))
     from generate_series($1::int, $2::int) n`,
    [from, to],
  );
}

/** Hardly compressible: what hex digits are. */
async function fillLarge({ client }: World): Promise<void> {
  for (let n = 0; n < 50; n++) {
    const body = randomBytes(5 * 1024 * 1024).toString('hex');
    await client.query('insert into public.documents (body) values ($1)', [body]);
  }
}

async function routed({ pool }: World): Promise<void> {
  while ((await readDatabaseStatus(pool)).checkpoint.lag_events > 10) await sleep(200);
}

/** Nothing waits for the receiver that was away. */
async function drained(world: World): Promise<void> {
  await routed(world);
  while ((await world.client.query("select from observers.deliveries where destination like 'away' limit 1")).rowCount)
    await sleep(100);
}

/** Does the work of a phase, looks at the queue when it is done (before a drain, it is at its largest), and reports. */
async function phase(world: World, name: string, work: () => Promise<void>): Promise<void> {
  world.pulses = [];
  const began = world.timeline.enter(name);
  const asking = ask(world);
  await work();
  const seconds = world.timeline.now() - began;
  asking.stop();
  const asked = await asking.longest;
  const ms = (value: number) => (Number.isFinite(value) ? value.toFixed(0) : '–');
  world.report.push([
    name,
    seconds.toFixed(1),
    world.timeline.peak(name).toFixed(0),
    ms(quantile(world.pulses, 0.5)),
    ms(Math.max(...world.pulses)),
    ...asked.map(ms),
    ...(await sizes(world)),
  ]);
}

const questions: readonly ((world: World) => Promise<unknown>)[] = [
  ({ pool }) => pool.query('select * from observers.status'),
  ({ pool }) => readDatabaseStatus(pool),
  ({ pool }) => pool.query("select * from observers.deliveries where state = 'ready' order by due_at limit 20"),
];

/** Asks now and then, as a person or a dashboard does. @returns the longest time each question took, milliseconds */
function ask(world: World): { stop: () => void; longest: Promise<number[]> } {
  let asking = true;
  const run = async () => {
    const longest = questions.map(() => 0);
    while (asking) {
      for (const [i, question] of questions.entries()) {
        const began = performance.now();
        await question(world);
        longest[i] = Math.max(longest[i] ?? 0, performance.now() - began);
      }
      await sleep(2_000);
    }
    return longest;
  };
  return {
    stop: () => {
      asking = false;
    },
    longest: run(),
  };
}

async function sizes({ client }: World): Promise<string[]> {
  const { rows } = await client.query<{ heap: number; indexes: number }>(
    `select pg_table_size('observers.deliveries')::float8 as heap, pg_indexes_size('observers.deliveries')::float8 as indexes`,
  );
  return [rows[0]?.heap, rows[0]?.indexes].map((bytes) => ((bytes ?? 0) / 1024 / 1024).toFixed(0));
}

async function startRun(file: string): Promise<ChildProcess> {
  const program = new URL('../dist/cli/main.js', import.meta.url).pathname;
  const child = spawn(process.execPath, [program, 'run', '--config', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((observing, failed) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (text.includes('"event":"engine.started"')) observing();
    });
    child.once('exit', (status) => failed(new Error(`run ended with status ${status}`)));
  });
  return child;
}

async function measure(scenario: Scenario): Promise<void> {
  const cluster = await startCluster();
  const database = await cluster.createDatabase('memory');
  const folder = await mkdtemp(join(tmpdir(), 'pg-observers-bench-'));
  const client = new pg.Client(database.url);
  const pulseClient = new pg.Client(database.url);
  const pool = createPool(database.url, 6);
  const endpoint = await startEndpoint();
  const children: ChildProcess[] = [];
  let pulsing = true;
  const healthy = await startWebhookReceiver({ capacity: 100 });
  try {
    await Promise.all([client.connect(), pulseClient.connect()]);
    await client.query(
      'create table public.documents (id integer generated always as identity primary key, body text)',
    );
    const file = join(folder, 'observers.yaml');
    await writeFile(file, rules(database.url, endpoint.url, healthy.url));
    for (let i = 0; i < instances; i++) children.push(await startRun(file));
    const timeline = new Timeline(
      children.map(({ pid }) => pid ?? 0),
      250,
    );
    const world: World = { client, pool, endpoint, timeline, report: [], pulses: [] };
    healthy.received.onArrival(({ body }) => world.pulses.push(Date.now() - JSON.parse(body).data.payload.at));
    const pulse = async () => {
      for (; pulsing; await sleep(250))
        await pulseClient.query("select observers.emit('pulse', jsonb_build_object('at', $1::float8))", [Date.now()]);
    };
    const pulsed = pulse();
    timeline.enter('idle');
    await sleep(2_000);
    await steps[scenario](world);
    await phase(world, 'after', () => sleep(10_000));
    pulsing = false;
    await pulsed;
    timeline.stop();
    console.log(`\n## ${scenario}: PostgreSQL ${cluster.version}, ${events} events, ${instances} × run\n`);
    const head = [
      'phase',
      's',
      'RSS max',
      'healthy p50 ms',
      'max',
      'view max ms',
      'status',
      'list',
      'queue MB',
      'its indexes',
    ];
    console.log(markdownTable(head, world.report));
    console.log(`\n${timeline.chart()}`);
    if (options.csv !== undefined) await writeFile(options.csv.replace('%', scenario), timeline.csv());
  } finally {
    pulsing = false;
    for (const child of children) child.removeAllListeners('exit').kill();
    endpoint.close();
    await healthy.close();
    await Promise.allSettled([client.end(), pulseClient.end(), pool.end()]);
    await database.drop();
    await cluster.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

for (const scenario of scenarios) await measure(scenario);
