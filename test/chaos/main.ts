/** `npm run chaos`: scenarios on a cluster of their own, a table for people, and JSON in the last lines for programs. */

import { parseArgs } from 'node:util';
import { passed, summaryOf, sumOf, tell } from './report.ts';
import { type RunResult, runScenario } from './run.ts';
import type { Scenario } from './scenario.ts';
import { scenarios } from './scenarios/index.ts';

const usage = `npm run chaos -- [--scenario NAME|all] [--minutes M] [--seed S] [--keep] [--list]

  --scenario   one of --list, several with commas, or all (the default)
  --minutes    of load and faults for each scenario; default 1
  --seed       decides everything that can be decided; default: another one each time, and named
  --keep       keep the evidence also of a run that passed
  --list       what there is

Exit status: 0 every promise was kept, 1 one was broken, 2 wrong usage.`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string', default: 'all' },
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
      keep: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return print(usage);
  if (values.list) return print(scenarios.map(({ name, promise }) => `${name.padEnd(14)} ${promise}`).join('\n'));
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
  if (!(minutes > 0) || !Number.isSafeInteger(seed)) return misuse('--minutes and --seed are numbers');
  const wanted = await choose(values.scenario);
  if (typeof wanted === 'string') return misuse(wanted);
  const results: RunResult[] = [];
  for (const scenario of wanted) {
    print(`${scenario.name}: ${scenario.promise}`);
    const result = await runScenario(scenario, { seed, durationMs: minutes * 60_000, keep: values.keep, say });
    print(tell(result));
    results.push(result);
  }
  for (const result of results) print(JSON.stringify(summaryOf(result)));
  if (wanted.length > 1) print(JSON.stringify(sumOf(results)));
  return results.every(passed) ? 0 : 1;
}

/** @returns the reason when there are none */
async function choose(names: string): Promise<readonly Scenario[] | string> {
  const all = names === 'all';
  const chosen = all ? scenarios : names.split(',').map((name) => scenarios.find((one) => one.name === name) ?? name);
  const available: Scenario[] = [];
  for (const scenario of chosen) {
    if (typeof scenario === 'string') return `there is no scenario ${scenario}; --list shows them`;
    const missing = (await scenario.available?.()) ?? null;
    if (missing === null) available.push(scenario);
    else if (all) print(`${scenario.name} is left out: ${missing}`);
    else return `${scenario.name} can't run here: ${missing}`;
  }
  return available;
}

const began = Date.now();

function say(text: string): void {
  console.error(`  ${((Date.now() - began) / 1000).toFixed(1).padStart(8)} s  ${text}`);
}

function print(text: string): number {
  console.log(text);
  return 0;
}

function misuse(text: string): number {
  console.error(`${text}\n\n${usage}`);
  return 2;
}

process.exitCode = await main().catch((error: unknown) => {
  const { code, message } = error as { code?: string; message?: string };
  const misused = code?.startsWith('ERR_PARSE_ARGS') === true;
  console.error(misused ? `${message}\n\n${usage}` : error);
  return misused ? 2 : 1;
});
