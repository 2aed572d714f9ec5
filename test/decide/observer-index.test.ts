/** The index over conditions: whom it leaves out would neither have fired nor failed. */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { defineConfig } from '../../src/config/index.ts';
import type { EventRecord } from '../../src/domain/event.ts';
import { ExpressionError } from '../../src/domain/expression.ts';
import type { Config, Observer } from '../../src/domain/rules.ts';
import { Expression } from '../../src/expression/compile.ts';
import { compileCondition, compileTree, createScope, fires } from '../../src/expression/index.ts';
import { decide } from '../../src/pipeline/decide/decide.ts';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';
import { condition, eventOf, tree } from '../expression/arbitrary.ts';
import { record } from '../expression/record.ts';

const actions = [{ webhook: 'http://127.0.0.1:9/x' }];
const base = defineConfig(
  {
    version: 1,
    database: 'postgres://127.0.0.1/x',
    sources: { orders: { table: 'public.orders' } },
    observers: { o: { source: 'orders', actions } },
  },
  { env: {} },
);

/** Compiled here, not read from a file: YAML would not hold every number. */
function configOf(conditions: readonly unknown[]): Config {
  const [template] = base.observers.values();
  if (template === undefined) throw new Error('no observer');
  const observers = conditions.map((written, n): [string, Observer] => {
    const when = typeof written === 'string' ? compileCondition(written) : compileTree(written);
    return [`o${n}`, { ...template, name: `o${n}`, when }];
  });
  return { ...base, observers: new Map(observers) };
}

/** Every observer evaluated on every event, by cel-js alone. */
function evaluateAll(events: readonly EventRecord[], config: Config): { fired: string[]; faults: string[] } {
  const fired: string[] = [];
  const faults: string[] = [];
  for (const event of events) {
    for (const { name, on, when } of config.observers.values()) {
      if (!on.includes(event.operation)) continue;
      if (!(when instanceof Expression)) throw new Error('not compiled');
      try {
        if (fires(when.evaluateFully(createScope(event)))) fired.push(`${event.id} ${name}`);
      } catch (error) {
        if (!(error instanceof ExpressionError)) throw error;
        faults.push(`${event.id} ${name} ${error.message} in ${JSON.stringify(error.expression)}`);
      }
    }
  }
  return { fired, faults };
}

function decideAll(events: readonly EventRecord[], config: Config): { fired: string[]; faults: string[] } {
  const { deliveries, faults } = decide(events, new RuleIndex(config));
  return {
    fired: deliveries.map(({ event, observer }) => `${event.id} ${observer}`),
    faults: faults.map(({ event, observer, message }) => `${event.id} ${observer} ${message}`),
  };
}

test('index and evaluation decide as evaluating every observer does, faults included', () => {
  let fired = 0;
  let faults = 0;
  fc.assert(
    fc.property(
      fc.array(fc.oneof(condition, condition, tree), { minLength: 1, maxLength: 12 }),
      fc.array(eventOf, { minLength: 1, maxLength: 12 }),
      (conditions, drawn) => {
        const events = drawn.map((event, n) => ({ ...event, id: String(n) }));
        const config = configOf(conditions);
        const expected = evaluateAll(events, config);
        expect(decideAll(events, config)).toEqual(expected);
        fired += expected.fired.length;
        faults += expected.faults.length;
      },
    ),
    { numRuns: 250 },
  );
  expect(Math.min(fired, faults)).toBeGreaterThan(100);
});

const candidates = (conditions: readonly unknown[], event: Partial<EventRecord>): string[] =>
  new RuleIndex(configOf(conditions)).candidates(record(event)).map(({ name }) => name);

test('finds by the constant that fewest share, whatever stands before it', () => {
  const conditions = Array.from(
    { length: 50 },
    (_, n) => `"status" in changed && new.status == "paid" && new.tenant_id == ${n}`,
  );
  const event = { old: '{"status": "open", "tenant_id": 7}', new: '{"status": "paid", "tenant_id": 7.0}' };
  expect(candidates(conditions, event)).toEqual(['o7']);
});

test('finds by bounds among those who share everything else, in the order of the file and each once', () => {
  const conditions = [9, 1, 5, 3, 7].map((n) => `new.status == "paid" && new.total > ${n}`);
  const paid = (total: string) => ({ old: '{"total": 4}', new: `{"status": "paid", "total": ${total}}` });
  expect(candidates([...conditions, 'new.note.contains("urgent")'], paid('6'))).toEqual(['o1', 'o2', 'o3', 'o5']);
  expect(candidates([...conditions, 'new.total > 0 || old.total > 3'], paid('2'))).toEqual(['o1', 'o5']);
  expect(candidates(conditions, paid('"many"'))).toHaveLength(5);
});

test('keeps the order of more observers than a word has bits', () => {
  const conditions = Array.from({ length: 100 }, (_, n) => `new.n > ${n % 2 === 0 ? n : 1_000}`);
  const even = Array.from({ length: 50 }, (_, n) => `o${n * 2}`);
  expect(candidates(conditions, { new: '{"n": 99}' })).toEqual(even);
});

test.each<[unknown, string, boolean]>([
  ['new.n == 100', '{"n": 1e2}', true],
  ['new.n == 100', '{"n": "100"}', false],
  ['9007199254740993 == new.n', '{"n": 9007199254740993}', true],
  ['9007199254740993 == new.n', '{"n": 9007199254740992}', false],
  ['new.n == null', '{}', true],
  ['new.n in ["a", 5]', '{"n": 5}', true],
  ['new.n in ["a", 5]', '{"n": "5"}', false],
  ['"n" in changed', '{"n": 1}', true],
  ['"m" in changed', '{"n": 1}', false],
  ['changed.contains("m")', '{"n": 1}', false],
  ['new.a == 1 || new.b == 2', '{"b": 2}', true],
  ['new.a == 1 || new.b == 2', '{"b": 1}', false],
  ['event.tenant == "x"', '{}', false],
  [{ all: [{ changed: ['m', 'k'] }, { 'new.n': { ne: 0 } }] }, '{"n": 1}', false],
  [{ 'new.n': { in: [1, 2] } }, '{"n": 2}', true],
  // Nothing to look up, or nothing that can be told.
  ['new.n != 5', '{"n": 5}', true],
  ['!(new.n < 5)', '{"n": 1}', true],
  ['new.a == 1 || new.b != 2', '{}', true],
  ['new.n > null', '{"n": 5}', true],
  // Bounds: an event on one is evaluated, and so is one that can't be compared with it, for that is an error.
  ['new.n > 5', '{"n": 4.99}', false],
  ['new.n > 5', '{"n": 5}', true],
  ['new.n >= 5', '{}', false],
  ['new.n >= 5', '{"n": "6"}', true],
  ['new.n >= 5', '{"n": true}', true],
  ['new.n >= 5', '{"n": [6]}', true],
  ['new.n <= -5', '{"n": -4}', false],
  ['5 < new.n', '{"n": 4}', false],
  ['5 < new.n', '{"n": 6}', true],
  ['5 > new.n', '{"n": 6}', false],
  ['new.n >= 9007199254740993', '{"n": 9007199254740992}', false],
  ['new.n >= 9007199254740993', '{"n": 9007199254740993}', true],
  ['new.t < "b"', '{"t": "c"}', false],
  ['new.t < "b"', '{"t": "abc"}', true],
  ['new.t < "b"', '{"t": 1}', true],
  ['new.a > 1 || new.b < 2', '{"a": 1, "b": 2}', true],
  ['new.a > 1 || new.b < 2', '{"a": 0, "b": 3}', false],
  ['new.n', '{"n": false}', true],
  ['new.n.m == 5', '{"n": "a text has no fields"}', true],
  // A fault that a false conjunct on either side keeps from happening; one beside a true conjunct happens.
  ['new.t > 5 && new.n == 1', '{"t": "x", "n": 2}', false],
  ['new.n == 1 && new.t > 5', '{"t": "x", "n": 1}', true],
])('%j of %s: %s', (when, image, expected) => {
  expect(candidates([when], { old: '{}', new: image })).toEqual(expected ? ['o0'] : []);
});
