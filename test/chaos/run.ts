/** One run of one scenario, from an empty directory to a verdict. */

import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { check, type History, type Verdict } from './checker.ts';
import { countLeftovers, readDeadLetters, readExpected, readSettlements } from './evidence.ts';
import { keepEvidence } from './keep.ts';
import { usualObservers } from './observers.ts';
import type { Chaos, Scenario } from './scenario.ts';
import { type BuiltSite, buildSite, type RunOptions } from './site.ts';
import { slowestTakeoverMs } from './takeover.ts';
import { Workload } from './workload/workload.ts';

export interface RunResult {
  readonly scenario: string;
  readonly seed: number;
  readonly minutes: number;
  readonly events: number;
  readonly transactions: number;
  /** Transactions of the workload that failed, by SQLSTATE. */
  readonly writerFailures: Readonly<Record<string, number>>;
  readonly verdict: Verdict;
  /** What broke beside the checker: an instance that ended by itself, what the scenario's `verify` said. */
  readonly complaints: readonly string[];
  readonly faults: Readonly<Record<string, number>>;
  readonly kills: number;
  readonly maxRssMb: number;
  /** Null when no router was killed or paused. */
  readonly routingTakeoverMsMax: number | null;
  readonly drainMs: number;
  /** Where everything is kept; null when it was removed. */
  readonly directory: string | null;
}

export interface RunOnceOptions extends RunOptions {
  /** Keep the evidence also of a run that passed. */
  readonly keep?: boolean;
  /** How long nothing may move after the load before the rest counts as lost. Default 40,000 ms. */
  readonly patienceMs?: number;
}

/** Without any progress for so long, the rest is lost. */
const usualPatienceMs = 40_000;

export async function runScenario(scenario: Scenario, options: RunOnceOptions): Promise<RunResult> {
  const { say = () => {} } = options;
  const site = await buildSite(scenario, options);
  let failed = true;
  try {
    const workload = new Workload(site.cluster.url, site.random.fork('workload'), scenario.workload);
    await site.fleet.startAll();
    const memory = watchMemory(site);
    const chaos = chaosOf(site, workload, options);
    await loadAndFaults(scenario, chaos, workload, options);
    say(`the load is over after ${workload.transactions} transactions; waiting for what is on its way`);
    const known = await readExpected(site.cluster, [...usualObservers, ...(scenario.rules?.observers ?? [])]);
    const drainMs = await drain(site, known.expected, options.patienceMs ?? usualPatienceMs);
    memory.stop();
    const complaints = [
      ...(await stopFleet(site)),
      ...((await scenario.verify?.(chaos)) ?? []),
      ...complaintsOf(site, workload),
    ];
    const history = await historyOf(scenario, site, known.expected);
    const verdict = check(history);
    failed = verdict.violations.length > 0 || complaints.length > 0;
    const kept = failed || options.keep === true;
    if (kept) await keepEvidence(site.directory, { history, verdict, complaints, memory: memory.samples });
    return {
      scenario: scenario.name,
      seed: options.seed,
      minutes: Math.round((options.durationMs / 60_000) * 100) / 100,
      events: known.events,
      transactions: workload.transactions,
      writerFailures: Object.fromEntries(workload.failures),
      verdict,
      complaints,
      faults: countFaults(history),
      kills: site.fleet.kills,
      maxRssMb: site.fleet.maxRssMb,
      routingTakeoverMsMax: slowestTakeoverMs(history.faults, site.fleet.said),
      drainMs,
      directory: kept ? site.directory : null,
    };
  } finally {
    await site.close();
    if (!failed && options.keep !== true) await rm(site.directory, { recursive: true, force: true });
    else say(`kept: ${site.directory}`);
  }
}

function chaosOf(site: BuiltSite, workload: Workload, { durationMs, say = () => {} }: RunOptions): Chaos {
  const endAt = Date.now() + durationMs;
  return {
    ...site,
    random: site.random.fork('nemesis'),
    workload,
    say,
    get ended() {
      return Date.now() >= endAt;
    },
    rest: async (ms) => {
      await sleep(Math.max(0, Math.min(ms, endAt - Date.now())));
      return Date.now() < endAt;
    },
    until,
  };
}

async function until(what: string, look: () => Promise<boolean> | boolean, withinMs = 30_000): Promise<void> {
  for (const deadline = Date.now() + withinMs; !(await look()); await sleep(50)) {
    if (Date.now() > deadline) throw new Error(`${withinMs} ms went by without: ${what}`);
  }
}

async function loadAndFaults(scenario: Scenario, chaos: Chaos, workload: Workload, { durationMs }: RunOptions) {
  workload.start();
  try {
    await Promise.all([scenario.nemesis(chaos), sleep(durationMs)]);
  } finally {
    await scenario.heal?.(chaos);
    chaos.receivers.behaveAll();
    await chaos.until('the database answers', () => chaos.cluster.isUp(), 60_000);
    await workload.stop();
    chaos.fleet.heal();
  }
}

/** Resolves when everything has arrived and the queue is empty, or when nothing moves any more. @returns milliseconds */
async function drain(site: BuiltSite, expected: History['expected'], patienceMs: number): Promise<number> {
  const began = Date.now();
  const missing = new Set(expected.filter(({ optional }) => !optional).map(({ delivery }) => delivery));
  let seen = 0;
  let progressAt = began;
  let before = '';
  while (Date.now() - progressAt < patienceMs) {
    const { arrivals } = site.receivers;
    for (const arrival of arrivals) if (arrival.accepted) missing.delete(arrival.delivery);
    const left = await countLeftovers(site.cluster);
    const dead = left > 0 || missing.size === 0 ? [] : await readDeadLetters(site.cluster);
    for (const { delivery } of dead) missing.delete(delivery);
    if (missing.size === 0 && left === 0) return Date.now() - began;
    seen = arrivals.length;
    const now = `${missing.size} ${left} ${seen}`;
    if (now !== before) progressAt = Date.now();
    before = now;
    await sleep(200);
  }
  return Date.now() - began;
}

async function stopFleet({ fleet }: BuiltSite): Promise<string[]> {
  await until('every instance observes', () => fleet.instances.every(({ observing }) => observing), 60_000);
  const ends = await fleet.stopAll();
  return ends.flatMap((how, n) =>
    how === 'status 0' ? [] : [`instance ${n + 1} stopped with ${how}, not with status 0`],
  );
}

/** What nobody asked for. */
function complaintsOf({ fleet }: BuiltSite, workload: Workload): string[] {
  const ended = fleet.said.filter(({ event, message }) => event === 'harness.ended' && /^status [^0]/.test(message));
  const failed = fleet.said.filter(({ event }) => event === 'stage.failed');
  return [
    ...ended.map(({ instance, message }) => `instance ${instance} ended by itself: ${message}`),
    ...(failed.length === 0 ? [] : [`a stage failed ${failed.length} times; see logs/`]),
    ...(workload.transactions === 0 ? ['the workload wrote nothing'] : []),
  ];
}

async function historyOf(scenario: Scenario, site: BuiltSite, expected: History['expected']): Promise<History> {
  const { cluster, receivers, faults } = site;
  return {
    expected,
    arrivals: receivers.arrivals,
    faults: faults.all(),
    ...(await readSettlements(cluster)),
    deadLetters: await readDeadLetters(cluster),
    leftovers: await countLeftovers(cluster),
    repeats: scenario.repeats,
  };
}

function countFaults({ faults }: History): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of faults) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

function watchMemory({ fleet }: BuiltSite): { samples: readonly (readonly number[])[]; stop(): void } {
  const samples: number[][] = [];
  const timer = setInterval(async () => {
    const at = Date.now();
    samples.push([at, ...(await Promise.all(fleet.instances.map((instance) => instance.sampleRssKb())))]);
  }, 1_000);
  return { samples, stop: () => clearInterval(timer) };
}
