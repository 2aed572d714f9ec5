/** What is left of a run that broke a promise: enough to look at it without running it again. */

import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { History, Verdict } from './checker.ts';

export interface Evidence {
  readonly history: History;
  readonly verdict: Verdict;
  readonly complaints: readonly string[];
  /** Time, then the resident memory of each instance in KiB. */
  readonly memory: readonly (readonly number[])[];
}

/** One JSON text per line in each file. */
export async function keepEvidence(
  directory: string,
  { history, verdict, complaints, memory }: Evidence,
): Promise<void> {
  const files: Record<string, Iterable<unknown>> = {
    'violations.ndjson': [...verdict.violations, ...complaints.map((text) => ({ kind: 'complaint', text }))],
    'faults.ndjson': history.faults,
    'arrivals.ndjson': history.arrivals,
    'expected.ndjson': history.expected,
    'settled.ndjson': history.settledAt,
    'memory.ndjson': memory,
  };
  for (const [name, lines] of Object.entries(files)) {
    await pipeline(Readable.from(linesOf(lines)), createWriteStream(join(directory, name)));
  }
}

function* linesOf(values: Iterable<unknown>): Generator<string> {
  for (const value of values) yield `${JSON.stringify(value)}\n`;
}
