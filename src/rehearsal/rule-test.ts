import type { ExpectedRequest, RuleTest } from '../config/rule-tests/read.ts';
import type { Config } from '../domain/rules.ts';
import { createScope, type Explained } from '../expression/index.ts';
import { type ExplainedEvent, type ExplainedObserver, explainEvent } from '../pipeline/decide/explain.ts';
import type { RuleIndex } from '../pipeline/decide/rule-index.ts';
import { type Difference, differences } from './partial-match.ts';
import { renderedRequest } from './rendered-request.ts';

export interface TestResult {
  readonly test: RuleTest;
  /** None: it passed. */
  readonly failures: readonly TestFailure[];
}

export interface TestFailure {
  readonly message: string;
  /** Of an observer that should have fired. */
  readonly condition: Explained | null;
  readonly differences: readonly Difference[];
}

/** One test: what the rules make of its event, held against what is expected. Nothing is sent, and no database asked. */
export async function runTest(test: RuleTest, config: Config, rules: RuleIndex): Promise<TestResult> {
  const explained = explainEvent(test.event, config, rules);
  const failures = [...observerFailures(test, explained)];
  for (const request of test.expected.requests) failures.push(...(await requestFailures(request, explained)));
  return { test, failures };
}

function* observerFailures({ expected }: RuleTest, { observers }: ExplainedEvent): Generator<TestFailure> {
  const { only, fires, not, faults, requests } = expected;
  const byName = new Map(observers.map((one) => [one.observer.name, one]));
  const wanted = new Set([...(only ?? []), ...fires, ...requests.map(({ observer }) => observer)]);
  for (const name of wanted) if (byName.get(name)?.verdict !== 'fires') yield shouldFire(name, byName.get(name));
  for (const name of faults) {
    const verdict = byName.get(name)?.verdict ?? 'silent';
    if (verdict !== 'fault')
      yield failure(`${name} should be an engine fault, and ${verdict === 'fires' ? 'fires' : 'does not fire'}`);
  }
  for (const { observer, verdict, fault } of observers) {
    const { name } = observer;
    const unwanted = not.includes(name) || (only !== null && !wanted.has(name));
    if (verdict === 'fires' && unwanted) yield failure(`${name} fires, and should not`);
    // Told already where it should fire.
    if (verdict === 'fault' && !faults.includes(name) && !wanted.has(name))
      yield failure(`${name} is an engine fault: ${fault}`);
  }
}

function shouldFire(name: string, one: ExplainedObserver | undefined): TestFailure {
  if (one === undefined) return failure(`${name} should fire, and observes another source`);
  const { observer, listens, condition, fault } = one;
  if (!listens) return failure(`${name} should fire, and listens only to ${observer.on.join(', ')}`);
  if (fault !== null) return { ...failure(`${name} should fire, and is an engine fault: ${fault}`), condition };
  return { ...failure(`${name} should fire, and does not`), condition };
}

const failure = (message: string): TestFailure => ({ message, condition: null, differences: [] });

async function requestFailures(
  { observer: name, action: actionName, json }: ExpectedRequest,
  { event, observers }: ExplainedEvent,
): Promise<TestFailure[]> {
  const found = observers.find(({ observer }) => observer.name === name);
  const action = found?.observer.actions.find((one) => one.name === actionName);
  if (found?.verdict !== 'fires' || action === undefined) return [];
  try {
    const different = differences(json, await renderedRequest(createScope(event), name, action));
    if (different.length === 0) return [];
    return [{ ...failure(`the request of ${name}/${actionName} is otherwise`), differences: different }];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [failure(`the request of ${name}/${actionName} can't be rendered: ${reason}`)];
  }
}
