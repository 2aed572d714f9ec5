import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { range } from './figures.ts';

const run = promisify(execFile);

/** pgbench writes with little processor time of its own; without it, clients in this process take their share of it. */
export const pgbench = findPgbench();

/** The same statement again and again, a transaction each, prepared. @returns transactions per second */
export function transactionsPerSecond(url: string, sql: string, clients: number, seconds: number): Promise<number> {
  // It counts in whole seconds.
  return pgbench === null || seconds < 1
    ? byOurselves(url, sql, clients, seconds)
    : byPgbench(pgbench, url, sql, clients, seconds);
}

async function byPgbench(program: string, url: string, sql: string, clients: number, seconds: number): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'pg-observers-bench-'));
  const script = join(folder, 'script.sql');
  await writeFile(script, `${sql};\n`);
  const size = [
    '--client',
    String(clients),
    '--jobs',
    String(Math.min(clients, 2)),
    '--time',
    String(Math.ceil(seconds)),
  ];
  const { stdout } = await run(program, ['--no-vacuum', '--protocol=prepared', ...size, '--file', script, url]);
  await rm(folder, { recursive: true });
  const rate = Number(/^tps = ([\d.]+)/m.exec(stdout)?.[1]);
  if (Number.isFinite(rate)) return rate;
  // On a busy machine not one transaction may have ended in time.
  if (seconds < 10) return byPgbench(program, url, sql, clients, seconds * 4);
  throw new Error(`pgbench said no rate:\n${stdout}`);
}

async function byOurselves(url: string, sql: string, clients: number, seconds: number): Promise<number> {
  const pool = new pg.Pool({ connectionString: url, max: clients });
  pool.on('error', () => {});
  const until = performance.now() + seconds * 1_000;
  let done = 0;
  await Promise.all(
    range(clients).map(async () => {
      for (; performance.now() < until; done++) await pool.query({ name: 'write', text: sql });
    }),
  );
  await pool.end();
  return done / seconds;
}

/** On the path, or where Debian keeps it. */
function findPgbench(): string | null {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [...versions.map((version) => `${debian}/${version}/bin`), ...(process.env.PATH ?? '').split(':')];
  const found = folders.map((folder) => join(folder, 'pgbench')).find((program) => existsSync(program));
  return found ?? null;
}
