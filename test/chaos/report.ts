import { broken } from './checker.ts';
import type { RunResult } from './run.ts';

/** One line of a run, the last one of the output. */
export function summaryOf(result: RunResult): Record<string, unknown> {
  const { scenario, seed, minutes, events, verdict, kills, maxRssMb, routingTakeoverMsMax, drainMs, complaints } =
    result;
  const { violations, ...counts } = verdict;
  return {
    scenario,
    seed,
    minutes,
    events,
    ...counts,
    complaints: complaints.length,
    kills,
    faults: result.faults,
    maxRssMb,
    routingTakeoverMsMax,
    drainMs,
    passed: passed(result),
  };
}

export function passed({ verdict, complaints }: RunResult): boolean {
  return verdict.violations.length === 0 && complaints.length === 0;
}

/** Sums, and the worst of what is no sum. */
export function sumOf(results: readonly RunResult[]): Record<string, unknown> {
  const sum: Record<string, unknown> = { scenario: 'all', seed: results[0]?.seed ?? 0 };
  for (const result of results) {
    for (const [name, value] of Object.entries(summaryOf(result))) {
      if (name === 'seed' || typeof value !== 'number') continue;
      const before = typeof sum[name] === 'number' ? sum[name] : 0;
      sum[name] = /Max|^max|drainMs/.test(name) ? Math.max(before, value) : Math.round((before + value) * 100) / 100;
    }
  }
  return { ...sum, passed: results.every(passed) };
}

/** For people: what was done, what was found, and where to look when something broke. */
export function tell(result: RunResult): string {
  const { verdict, faults } = result;
  const done = Object.entries(faults).map(([kind, count]) => `${count} × ${kind}`);
  const failures = Object.entries(result.writerFailures).map(([code, count]) => `${count} × ${code}`);
  const rows: [string, string][] = [
    ['scenario', `${result.scenario}, seed ${result.seed}, ${result.minutes} min`],
    [
      'committed',
      `${result.transactions} transactions, ${result.events} events, ${verdict.deliveries} deliveries to make`,
    ],
    ['faults', done.length === 0 ? 'none' : done.join(', ')],
    ['writers met', failures.length === 0 ? 'no error' : failures.join(', ')],
    ['arrived', `${verdict.requests} requests, ${verdict.duplicates} repeats (${verdict.lateRepeats} late)`],
    ...broken.map((kind): [string, string] => [words[kind], verdict[kind] === 0 ? '0' : `${verdict[kind]}   ← broken`]),
    ['dead letters', String(verdict.deadLetters)],
    ['most memory', `${result.maxRssMb} MB`],
    [
      'routing taken over',
      result.routingTakeoverMsMax === null ? '-' : `after ${result.routingTakeoverMsMax} ms at most`,
    ],
    ['drained', `${result.drainMs} ms after the load`],
  ];
  const table = rows.map(([name, value]) => `  ${name.padEnd(26)}${value}`).join('\n');
  return `\n${table}\n${troubleOf(result)}`;
}

const words = {
  lost: 'lost',
  unexplainedDuplicates: 'unexplained repeats',
  outOfOrder: 'out of order',
  wrongPayload: 'wrong payload',
  phantoms: 'never committed',
  unexplainedDeadLetters: 'dead without a cause',
  settledTwice: 'settled twice',
  leftovers: 'left in the queue',
} as const;

const shown = 10;

function troubleOf(result: RunResult): string {
  if (passed(result)) return `  ${'verdict'.padEnd(26)}kept\n`;
  const { violations } = result.verdict;
  const lines = [
    ...result.complaints.map((text) => `  ! ${text}`),
    ...violations.slice(0, shown).map(({ kind, delivery, text }) => `  ! ${words[kind]}: ${delivery}: ${text}`),
    ...(violations.length > shown ? [`  … and ${violations.length - shown} more`] : []),
  ];
  return `  ${'verdict'.padEnd(26)}BROKEN
${lines.join('\n')}

  evidence   ${result.directory}
             violations.ndjson, faults.ndjson, arrivals.ndjson (the ledger), expected.ndjson, settled.ndjson, memory.ndjson,
             logs/ of the instances, observers.yaml, and the database:
             pg_ctl -D ${result.directory}/postgres/cluster -o '-p 5433' start   # as the user postgres when you are root
  again      npm run chaos -- --scenario ${result.scenario} --seed ${result.seed} --minutes ${result.minutes}
`;
}
