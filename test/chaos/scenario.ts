/**
 * What a scenario is, and what it is given. A scenario is one file in scenarios/, listed in scenarios/index.ts.
 *
 * The harness starts a cluster, the receivers and the instances, lets the workload write, and runs `nemesis` beside it until
 * the time is up. Then it heals what the harness can heal (instances are started or resumed, receivers behave), waits until
 * everything has arrived, and checks. What a scenario broke by itself it mends itself: in `heal`, which is called always.
 */

import type { Cluster } from './cluster.ts';
import type { FaultLog } from './fault-log.ts';
import type { Fleet } from './fleet.ts';
import type { Random } from './random.ts';
import type { Receivers } from './receivers.ts';
import type { RulesOptions } from './rules.ts';
import type { Workload, WorkloadOptions } from './workload/workload.ts';

export interface Scenario {
  /** For `--scenario`: [a-z-]. */
  readonly name: string;
  /** What it proves, in one sentence, as docs/reliability.md says it. */
  readonly promise: string;
  /** How many `pg-observers run` there are, 1 … 3. */
  readonly instances: number;
  /**
   * `none`: not one accepted request may repeat. `in flight`: only what was begun before the end of a fault that permits
   * repeats, and was not settled when it began.
   */
  readonly repeats: 'none' | 'in flight';
  /** Left out of `all` when it resolves to a reason (no PgBouncer on this machine, not root, …). */
  available?(): Promise<string | null>;
  /** postgresql.conf of the cluster. */
  readonly postgres?: Readonly<Record<string, string>>;
  readonly rules?: RulesOptions;
  readonly workload?: WorkloadOptions;
  /** Before rules are written and instances start: whatever stands between them and the database or the receivers. */
  prepare?(site: Site): Promise<Preparation>;
  /** Injects faults until `chaos.ended`; every one through `chaos.faults`. Steps: `while (await chaos.rest(ms)) …`. */
  nemesis(chaos: Chaos): Promise<void>;
  /** Ends what the scenario did to the world: also when nemesis failed. Idempotent. */
  heal?(chaos: Chaos): Promise<void>;
  /** Looked at after the drain, in addition to the checker: what broke, in words. */
  verify?(chaos: Chaos): Promise<readonly string[]>;
}

/** What there is before the instances are. */
export interface Site {
  readonly random: Random;
  readonly cluster: Cluster;
  readonly receivers: Receivers;
  /** Of this run; removed when it passed, kept when it failed. Everybody may enter it. */
  readonly directory: string;
}

export interface Preparation {
  /** How the instances reach the database; default: straight. The workload and the checker always go straight. */
  readonly databaseUrl?: string;
  /** How they reach a receiver; default: straight. */
  readonly receiverUrl?: (destination: string, url: string) => string;
  /** For each instance, by number from 1. */
  readonly instance?: (number: number) => InstanceEnvironment;
  /** Called at the very end of the run, before the cluster goes: closes proxies, poolers. */
  readonly close?: () => Promise<void>;
}

export interface InstanceEnvironment {
  readonly env?: Readonly<Record<string, string>>;
  /** Options of node itself, e.g. `--import`. */
  readonly nodeOptions?: readonly string[];
  /**
   * How far the scenario may have moved this instance's wall clock, milliseconds, far apart from each other: the one that
   * comes nearest is taken off the times that it tells.
   */
  readonly clockOffsetsMs?: readonly number[];
}

export interface Chaos extends Site {
  readonly fleet: Fleet;
  readonly faults: FaultLog;
  readonly workload: Workload;
  /** What the instances run: `dist/cli/main.js`. */
  readonly program: string;
  /** Of all instances. */
  readonly rulesFile: string;
  /** What the rules file was written with. */
  readonly rules: RulesOptions;
  /** Writes it again with other rules, led through the same proxies: for a SIGHUP. */
  readonly writeRules: (rules: RulesOptions) => Promise<void>;
  /** True when the time is up. */
  readonly ended: boolean;
  /** Waits, at most to the end. @returns whether there is time left for another fault */
  rest(ms: number): Promise<boolean>;
  /** Polls until `look` is true. @throws Error naming `what` */
  until(what: string, look: () => Promise<boolean> | boolean, withinMs?: number): Promise<void>;
  /** A line on the terminal, with the time. */
  say(text: string): void;
}
