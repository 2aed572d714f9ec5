import type { BenchCase } from '../support/bench.ts';
import { drain } from './01-drain.ts';
import { latency } from './02-latency.ts';
import { writers } from './03-writers.ts';
import { unmatched } from './04-unmatched.ts';
import { observers } from './05-observers.ts';
import { retained } from './06-retained.ts';
import { inFlight } from './07-in-flight.ts';
import { transport } from './08-transport.ts';
import { fanOut } from './09-fan-out.ts';
import { twoSidecars } from './10-two-sidecars.ts';
import { idle } from './11-idle.ts';
import { footprint } from './12-footprint.ts';
import { destinations } from './13-destinations.ts';

/** One for each row of the table in docs/performance.md. */
export const cases: readonly BenchCase[] = [
  drain,
  latency,
  writers,
  unmatched,
  observers,
  retained,
  inFlight,
  transport,
  fanOut,
  twoSidecars,
  idle,
  footprint,
  destinations,
];
