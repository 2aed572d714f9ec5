import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { UserError } from '../../domain/errors.ts';
import type { EventRecord } from '../../domain/event.ts';
import type { Config, Position } from '../../domain/rules.ts';
import { readDocument } from '../document.ts';
import { Field } from '../field.ts';
import { loadConfig } from '../load.ts';
import { Problems } from '../problems.ts';
import { checkStructure } from '../structure.ts';
import { didYouMean } from '../suggestions.ts';
import { reasonOf } from '../variables.ts';
import { readGiven } from './given.ts';
import { testsValidator } from './validator.ts';

/** observers.test.yaml, checked, with the rules that it tests. */
export interface RuleTests {
  readonly file: string;
  readonly config: Config;
  readonly tests: readonly RuleTest[];
}

export interface RuleTest {
  readonly name: string;
  readonly position: Position;
  readonly event: EventRecord;
  readonly expected: Expected;
}

/** Names of observers; null: nothing is said of it. */
export interface Expected {
  readonly only: readonly string[] | null;
  readonly fires: readonly string[];
  readonly not: readonly string[];
  readonly faults: readonly string[];
  readonly requests: readonly ExpectedRequest[];
}

export interface ExpectedRequest {
  readonly observer: string;
  readonly action: string;
  readonly position: Position;
  /** JSON text of the part of the request that is compared, numbers as written. */
  readonly json: string;
}

/**
 * @param rules another file of rules than the tests name
 * @throws ConfigError with all problems of the rules, or of the tests
 * @throws UserError when a file can't be read
 */
export async function loadRuleTests(file: string, rules?: string): Promise<RuleTests> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new UserError(`can't read ${file}: ${reasonOf(error)}  (name the file: pg-observers test FILE)`, 2, {
      cause: error,
      code: 'PGO-FILE',
    });
  });
  const problems = new Problems(file);
  const document = readDocument(text, problems);
  // What stands in a test is data: a `${NAME}` in it is one, too.
  const resolved = { value: document.value, substitutions: new Map() };
  checkStructure(document, resolved, problems, testsValidator());
  problems.throwIfAny();
  const root = Field.root({
    document,
    resolved,
    problems,
    secrets: new Set(),
    directory: dirname(file),
    readFile: (path) => readFileSync(resolve(dirname(file), path), 'utf8'),
  });
  const config = await loadConfig(rules ?? besides(file, root.get('config').text() ?? 'observers.yaml'), {
    env: Object.fromEntries(
      root
        .get('env')
        .entries()
        .map(([name, value]) => [name, value.text() ?? '']),
    ),
    standIns: true,
    database: 'postgres://stand-in.invalid/stand-in',
  });
  const tests = root
    .get('tests')
    .items()
    .map((field, i) => readTest(field, i, config));
  refuseTwins(root.get('tests').items());
  problems.throwIfAny();
  return { file, config, tests };
}

/** As short as it can be named from here. */
function besides(file: string, other: string): string {
  const path = resolve(dirname(file), other);
  const near = relative(process.cwd(), path);
  return near.startsWith('..') ? path : join(near);
}

function readTest(field: Field, index: number, config: Config): RuleTest {
  return {
    name: field.get('name').text() ?? '',
    position: field.position,
    event: readGiven(field.get('given'), index, config),
    expected: readExpected(field.get('expect'), config),
  };
}

function refuseTwins(fields: readonly Field[]): void {
  const names = new Set<string>();
  for (const field of fields) {
    const name = field.get('name');
    const text = name.text() ?? '';
    if (names.has(text)) name.refuse(`another test is named ${name.shown}`);
    names.add(text);
  }
}

function readExpected(field: Field, config: Config): Expected {
  if (Array.isArray(field.value))
    return { only: observerNames(field, config), fires: [], not: [], faults: [], requests: [] };
  const only = field.get('only');
  return {
    only: only.present ? observerNames(only, config) : null,
    fires: observerNames(field.get('fires'), config),
    not: observerNames(field.get('not'), config),
    faults: observerNames(field.get('faults'), config),
    requests: readRequests(field.get('requests'), config),
  };
}

function observerNames(field: Field, { observers }: Config): readonly string[] {
  return field.items().flatMap((item) => {
    const name = item.text();
    if (name === undefined || observers.has(name)) return name ?? [];
    item.refuse(`there is no observer ${item.shown}`, didYouMean(name, observers.keys()));
    return [];
  });
}

function readRequests(fields: Field, { observers }: Config): ExpectedRequest[] {
  return fields.entries().flatMap(([name, actions]) => {
    const observer = observers.get(name);
    if (observer === undefined) {
      actions.refuseKey(`there is no observer \`${name}\``, didYouMean(name, observers.keys()));
      return [];
    }
    const names = observer.actions.map((action) => action.name);
    return actions.entries().flatMap(([action, request]): ExpectedRequest[] => {
      if (names.includes(action)) {
        const json = request.draft.document.json(request.path);
        return [{ observer: name, action, position: request.keyPosition, json }];
      }
      request.refuseKey(`observer \`${name}\` has no action \`${action}\``, `it has ${names.join(', ')}`);
      return [];
    });
  });
}
