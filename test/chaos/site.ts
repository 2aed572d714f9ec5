/** What a run stands on: built in order, taken down in reverse. */

import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cluster } from './cluster.ts';
import { FaultLog } from './fault-log.ts';
import { Fleet } from './fleet.ts';
import { destinations } from './observers.ts';
import { createRandom, type Random } from './random.ts';
import { Receivers } from './receivers.ts';
import { type RulesOptions, rulesYaml, usualTimeoutMs } from './rules.ts';
import type { Preparation, Scenario } from './scenario.ts';

export interface RunOptions {
  readonly seed: number;
  /** Of load and faults; what is on its way then is waited for. */
  readonly durationMs: number;
  /** Default: dist/cli/main.js. */
  readonly program?: string;
  /** An empty database of a running server, for scenarios that leave the server alone; default: a cluster of its own. */
  readonly databaseUrl?: string;
  /** Lines for people; default: silent. */
  readonly say?: (text: string) => void;
}

export interface BuiltSite {
  readonly directory: string;
  readonly random: Random;
  readonly cluster: Cluster;
  readonly receivers: Receivers;
  readonly fleet: Fleet;
  readonly faults: FaultLog;
  readonly program: string;
  readonly rulesFile: string;
  readonly rules: RulesOptions;
  /** The rules file again, with other rules, led the same way. */
  readonly writeRules: (rules: RulesOptions) => Promise<void>;
  close(): Promise<void>;
}

const builtProgram = new URL('../../dist/cli/main.js', import.meta.url).pathname;

/** The whole site, with rules applied; no instance runs yet. */
export async function buildSite(scenario: Scenario, options: RunOptions): Promise<BuiltSite> {
  const { seed, say = () => {}, program = builtProgram } = options;
  const directory = await mkdtemp(join(tmpdir(), `pg-observers-chaos-${scenario.name}-${seed}-`));
  await chmod(directory, 0o755); // PostgreSQL's user has to come through
  const closing: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const end of closing.splice(0).reverse()) await end();
  };
  try {
    const random = createRandom(seed);
    const cluster =
      options.databaseUrl === undefined
        ? await Cluster.start(join(directory, 'postgres'), scenario.postgres)
        : Cluster.borrow(options.databaseUrl);
    closing.push(() => cluster.close());
    await cluster.query(await readFile(new URL('./workload/schema.sql', import.meta.url), 'utf8'));
    const receivers = await Receivers.start(targetsOf(scenario));
    closing.push(() => receivers.close());
    receivers.expectAnswersWithin(scenario.rules?.timeoutMs ?? usualTimeoutMs);
    const base = { random: random.fork('prepare'), cluster, receivers, directory };
    const preparation = (await scenario.prepare?.(base)) ?? {};
    closing.push(async () => preparation.close?.());
    const rulesFile = join(directory, 'observers.yaml');
    const writeRules = (rules: RulesOptions) => writeFile(rulesFile, rulesOf(base, preparation, rules));
    await writeRules(scenario.rules ?? {});
    await apply(program, rulesFile, cluster.url);
    await watchSettlements(cluster);
    const faults = new FaultLog(say);
    const fleet = await openFleet(scenario, preparation, { directory, program, rulesFile, faults, receivers });
    closing.push(() => fleet.close());
    const rules = scenario.rules ?? {};
    return { directory, random, cluster, receivers, fleet, faults, program, rulesFile, rules, writeRules, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function targetsOf({ rules }: Scenario): string[] {
  return [...new Set([...destinations, ...(rules?.observers ?? []).map(({ destination }) => destination)])];
}

function rulesOf(
  { cluster, receivers }: { cluster: Cluster; receivers: Receivers },
  { databaseUrl, receiverUrl = (_, url) => url }: Preparation,
  rules: RulesOptions,
): string {
  return rulesYaml(databaseUrl ?? cluster.url, (name) => receiverUrl(name, receivers.url(name)), rules);
}

async function openFleet(
  scenario: Scenario,
  preparation: Preparation,
  site: { directory: string; program: string; rulesFile: string; faults: FaultLog; receivers: Receivers },
): Promise<Fleet> {
  const { directory, program, rulesFile, faults, receivers } = site;
  await mkdir(join(directory, 'logs'));
  const options = Array.from({ length: scenario.instances }, (_, n) => {
    const number = n + 1;
    const environment = preparation.instance?.(number) ?? {};
    receivers.correctClock(number, environment.clockOffsetsMs ?? [0]);
    return { ...environment, number, program, rulesFile, logFile: join(directory, 'logs', `instance-${number}.log`) };
  });
  return new Fleet(options, faults);
}

/** Straight, not through what the scenario put in between. */
export async function apply(program: string, rulesFile: string, databaseUrl: string): Promise<void> {
  const child = spawn(process.execPath, [program, 'apply', '--config', rulesFile, '--database', databaseUrl], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, CHAOS_INSTANCE: '0' },
  });
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (status !== 0) throw new Error(`apply failed with status ${status}: ${said}`);
}

/** When a delivery leaves the queue for good, in the very transaction that ends it: only the database knows that. */
async function watchSettlements(cluster: Cluster): Promise<void> {
  await cluster.query(
    `create trigger chaos_settled after delete on observers.deliveries referencing old table as gone
     for each statement execute function chaos.note_settled()`,
  );
}
