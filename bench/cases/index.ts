import type { BenchCase } from '../support/bench.ts';
import { drain } from './01-drain.ts';
import { latency } from './02-latency.ts';
import { writers } from './03-writers.ts';
import { unmatched } from './04-unmatched.ts';
import { observers } from './05-observers.ts';

/** One for each row of the table in docs/performance.md. */
export const cases: readonly BenchCase[] = [drain, latency, writers, unmatched, observers];
