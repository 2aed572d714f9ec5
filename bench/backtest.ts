/**
 * How fast `backtest` is: the built program in a process of its own, over a log that was made in SQL, with 5 observers and with 100.
 *
 *   npm run bench:backtest -- [--events 500000] [--rounds 3] [--against FOLDER]
 *
 * `--against`: the checkout of another version, built, that takes turns with this one. Processor time per event is what a
 * busy machine does not falsify; the start of the program, measured by itself, is not in it.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createPool } from '../src/transport/postgres/connection.ts';
import { migrate } from '../src/transport/postgres/migrations.ts';
import { fillLog, rulesOf } from './support/backtest.ts';
import { measureProgram } from './support/child.ts';
import { startCluster } from './support/cluster.ts';
import { markdownTable, number, spread } from './support/tables.ts';

const { values: options } = parseArgs({
  options: {
    events: { type: 'string', default: '500000' },
    rounds: { type: 'string', default: '3' },
    against: { type: 'string' },
  },
});
const events = Number(options.events);
const rounds = Number(options.rounds);
const here = new URL('../', import.meta.url).pathname;
const builds = options.against === undefined ? [here] : [here, options.against];

interface Run {
  readonly perSecond: number;
  /** Processor time per event, microseconds: of the program, and of the server. */
  readonly programUs: number;
  readonly serverUs: number;
  readonly peakMb: number;
  /** What it found, as JSON: the same of each build. */
  readonly found: string;
}

const folder = await mkdtemp(join(tmpdir(), 'pg-observers-bench-'));
const cluster = await startCluster();
try {
  const database = await cluster.createDatabase('backtest');
  const pool = createPool(database.url, 1);
  await migrate(pool).finally(() => pool.end());
  await fillLog(database, events);
  const runs = new Map<string, Run[]>();
  for (let round = 0; round < rounds; round += 1) {
    for (const observers of [5, 100]) {
      const file = join(folder, `${observers}.yaml`);
      await writeFile(file, JSON.stringify(rulesOf(database.url, observers)));
      const turns = round % 2 === 0 ? builds : builds.toReversed();
      for (const build of turns) {
        const name = `${observers} observers${build === here ? '' : `, ${build}`}`;
        runs.set(name, [...(runs.get(name) ?? []), await backtest(build, file)]);
      }
      requireTheSame([...runs].filter(([name]) => name.startsWith(`${observers} `)).flatMap(([, all]) => all));
    }
  }
  console.log(`PostgreSQL ${cluster.version}, ${number(events)} events\n`);
  console.log(table(runs));
  await database.drop();
} finally {
  await cluster.stop();
  await rm(folder, { recursive: true, force: true });
}

async function backtest(build: string, file: string): Promise<Run> {
  const args = [join(build, 'dist/cli/main.js'), 'backtest', '--config', file, '--json', '--since'];
  const started = await measureProgram(process.execPath, [...args, '1d', '--until', '23h']);
  const serverBefore = cluster.processorMs();
  const { stdout, processorMs, peakMb } = await measureProgram(process.execPath, [...args, '1h']);
  const serverMs = cluster.processorMs() - serverBefore;
  const { events: decided, took_ms: tookMs, observers } = JSON.parse(stdout);
  if (decided !== events) throw new Error(`${decided} of ${events} events were decided`);
  return {
    perSecond: (events / tookMs) * 1_000,
    programUs: ((processorMs - started.processorMs) / events) * 1_000,
    serverUs: (serverMs / events) * 1_000,
    peakMb,
    found: JSON.stringify(observers),
  };
}

function requireTheSame(all: readonly Run[]): void {
  if (new Set(all.map(({ found }) => found)).size > 1) throw new Error('the runs do not find the same');
}

function table(runs: ReadonlyMap<string, readonly Run[]>): string {
  const head = ['', 'events/s', 'µs of the program per event', 'µs of the server per event', 'peak MB'];
  const figures = ['perSecond', 'programUs', 'serverUs', 'peakMb'] as const;
  return markdownTable(
    head,
    [...runs].map(([name, all]) => [name, ...figures.map((figure) => spread(all.map((run) => run[figure])))]),
  );
}
