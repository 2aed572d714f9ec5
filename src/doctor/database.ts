import { installationChecks } from './checks/installation.ts';
import { runningChecks } from './checks/running.ts';
import { serverChecks } from './checks/server.ts';
import type { DatabaseFacts } from './facts.ts';
import { type Finding, findings } from './finding.ts';

/** Pure: all that the facts say. */
export function judgeDatabase(facts: DatabaseFacts): Finding[] {
  return [
    ...findings('database', serverChecks, facts),
    ...findings('installation', installationChecks, facts),
    ...findings('running', runningChecks, facts),
  ];
}
