/**
 * npm run bench:profile [-- ROWS]: where the time of a delivery goes. One drained backlog (row 1), with pg_stat_statements in the
 * server and --cpu-prof in the sidecar; the profile stays in bench/results, for a browser's developer tools.
 */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { startCluster } from './support/cluster.ts';
import { ours } from './support/contenders.ts';
import { selfTimes } from './support/cpu-profile.ts';
import { sleep } from './support/figures.ts';
import { Receiver } from './support/receiver.ts';
import { markdownTable, number } from './support/tables.ts';

const rows = Number(process.argv[2] ?? 30_000);
const folder = new URL('results/profile/', import.meta.url).pathname;

process.env.BENCH_STATEMENTS = 'on';
const cluster = await startCluster();
const database = await cluster.createDatabase('profile');
const receiver = await Receiver.start();
const contender = ours(database);
await contender.install();
await database.query('create extension pg_stat_statements');
// Twice: the first one warms up.
for (const nodeFlags of [[], ['--cpu-prof', `--cpu-prof-dir=${folder}`]]) {
  await contender.backlog(rows);
  await database.query('select pg_stat_statements_reset()');
  const { arrivals } = receiver.expect(rows);
  const options = { target: `${receiver.url}/hook`, concurrency: 100, tuned: 'throughput', nodeFlags } as const;
  const sidecar = await contender.start(options);
  await arrivals;
  while (!(await contender.idle())) await sleep(5);
  await sidecar.stop();
}
const perRow = (us: number) => number(us / rows);
const { rows: statements } = await database.query<{ calls: string; us: number; wal: number; query: string }>(
  `select calls, total_exec_time * 1000 as us, wal_bytes::float8 as wal, left(regexp_replace(query, '\\s+', ' ', 'g'), 70) as query
   from pg_stat_statements where toplevel and query !~ 'pg_stat_statements' order by total_exec_time desc limit 12`,
);
const inDatabase = statements.map(({ calls, us, wal, query }) => [perRow(us), calls, perRow(wal), query]);
console.log(markdownTable(['µs a row', 'calls', 'WAL bytes a row', 'statement'], inDatabase));
await mkdir(folder, { recursive: true });
const newest = (await readdir(folder)).sort().at(-1) ?? '';
const functions = selfTimes(JSON.parse(await readFile(folder + newest, 'utf8'))).slice(0, 30);
console.log(
  `\n${markdownTable(
    ['µs a row', 'function itself, start-up included'],
    functions.map(([name, us]) => [perRow(us), name]),
  )}`,
);
console.log(`\n${folder}${newest}`);
await receiver.stop();
await database.drop();
await cluster.stop();
