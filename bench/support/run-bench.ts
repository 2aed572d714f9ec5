import { execFileSync } from 'node:child_process';
import { cpus, loadavg, totalmem } from 'node:os';
import type { Bench, BenchCase } from './bench.ts';
import { killChildren } from './child.ts';
import { startCluster } from './cluster.ts';
import { Receiver } from './receiver.ts';
import type { CaseResult, Report, Scale } from './result.ts';
import { nodeOfRivals, versionOf } from './rivals.ts';
import { caseTables } from './tables.ts';

export interface BenchOptions {
  readonly cases: readonly BenchCase[];
  readonly scale: Scale;
  /** null: what the scale asks for. */
  readonly rounds: number | null;
  readonly rivals: boolean;
  readonly log: (message: string) => void;
}

const roundsOf: Record<Scale, number> = { full: 3, quick: 2, smoke: 1 };

/** One case after the other, on one server. */
export async function runBench({ cases, scale, rounds, rivals, log }: BenchOptions): Promise<Report> {
  const load = loadavg()[0] ?? Number.NaN;
  if (load > 1) log(`The load is ${load.toFixed(1)}: something else is running, and rates will say more about that.`);
  const cluster = await startCluster({ flushing: scale !== 'smoke' });
  const results: CaseResult[] = [];
  const failed: Report['failed'][number][] = [];
  try {
    for (const one of cases) {
      log(`\n${one.number}. ${one.title}`);
      const began = performance.now();
      // Anew for each: what one case left in its memory is not the next one's.
      const receiver = await Receiver.start();
      try {
        const bench: Bench = { cluster, receiver, scale, rounds: rounds ?? roundsOf[scale], rivals, log };
        const result = await one.run(bench);
        results.push(result);
        log(caseTables(result));
      } catch (error) {
        // The others are not to be measured again because of it.
        failed.push({ number: one.number, message: String(error) });
        log(error instanceof Error ? (error.stack ?? error.message) : String(error));
      } finally {
        await receiver.stop();
        killChildren();
      }
      log(`   ${Math.round((performance.now() - began) / 1_000)} s`);
    }
    return {
      measuredAt: new Date().toISOString(),
      commit: commitOf(),
      machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
      load,
      node: process.version,
      postgres: cluster.version,
      rivals: rivals ? await rivalVersions() : {},
      scale,
      rounds: rounds ?? roundsOf[scale],
      cases: results,
      failed,
    };
  } finally {
    await cluster.stop();
  }
}

async function rivalVersions(): Promise<Record<string, string>> {
  return {
    'graphile-worker': versionOf('graphile-worker'),
    'pg-boss': versionOf('pg-boss'),
    node: await nodeOfRivals(),
  };
}

function commitOf(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return 'unknown';
  }
}
