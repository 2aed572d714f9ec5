import type { BenchDatabase, Cluster } from './cluster.ts';
import { type Contender, graphileWorker, ours, pgBoss } from './contenders.ts';
import { range } from './figures.ts';
import type { Receiver } from './receiver.ts';
import type { CaseResult, Scale } from './result.ts';

/** What every case gets. */
export interface Bench {
  readonly cluster: Cluster;
  readonly receiver: Receiver;
  readonly scale: Scale;
  readonly rounds: number;
  /** Whether graphile-worker and pg-boss take part. */
  readonly rivals: boolean;
  /** Says on stderr what is going on. */
  readonly log: (message: string) => void;
}

export interface BenchCase {
  readonly number: number;
  readonly title: string;
  run(bench: Bench): Promise<CaseResult>;
}

/** One of three sizes. */
export function sized<T>({ scale }: Bench, full: T, quick: T, smoke: T): T {
  return { full, quick, smoke }[scale];
}

export const roundsOf = ({ rounds }: Bench): number[] => range(rounds);

/** All of them on one database, installed. */
export async function install(bench: Bench, database: BenchDatabase): Promise<Contender[]> {
  const contenders = [ours(database), ...(bench.rivals ? [graphileWorker(database), pgBoss(database)] : [])];
  for (const contender of contenders) await contender.install();
  return contenders;
}
