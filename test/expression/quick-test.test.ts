/** The shortcuts of evaluation against cel-js alone: the same value or the same error, on whatever event. */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compile, type Expression } from '../../src/expression/compile.ts';
import { compileTree, createScope } from '../../src/expression/index.ts';
import { quickTest } from '../../src/expression/quick-test.ts';
import { eventScope } from '../../src/expression/scope.ts';
import { condition, eventOf, tree } from './arbitrary.ts';
import { record } from './record.ts';

function outcome(evaluate: () => unknown): unknown {
  try {
    return { value: evaluate() };
  } catch (error) {
    return { error: String(error) };
  }
}

function same(expression: Expression, event: ReturnType<typeof record>): void {
  const quick = outcome(() => expression.evaluate(createScope(event)));
  expect(quick).toEqual(outcome(() => expression.evaluateFully(createScope(event))));
}

test('random expressions on random events', () => {
  fc.assert(
    fc.property(condition, fc.array(eventOf, { minLength: 1, maxLength: 8 }), (source, events) => {
      const expression = compile(source);
      for (const event of events) same(expression, event);
    }),
    { numRuns: 1_000 },
  );
});

test('random trees on random events', () => {
  fc.assert(
    fc.property(tree, fc.array(eventOf, { minLength: 1, maxLength: 8 }), (written, events) => {
      for (const event of events) same(compileTree(written) as Expression, event);
    }),
    { numRuns: 500 },
  );
});

test.each([
  ['"status" in changed && new.status == "paid" && new.total > 1000', true],
  ['new.status in ["open", "paid"] && !(new.total < 5) && old.status != new.status', true],
  ['new.vip && new.email.endsWith("@example.org")', true],
  ['event.operation == "update" && event.tenant == null', true],
  ['new.total / 2 > 5 || new.status == "paid"', true],
  // The error is on the way: cel-js tells it.
  ['new.total > "5"', undefined],
  ['new.total / 2 > 5 && new.vip', undefined],
  ['size(new.status) == 4', undefined],
  // … and an error beside what decides is none.
  ['new.status > 5 && new.status == "open"', false],
  ['new.status == "open" && new.status > 5', false],
])('decides %s without cel-js: %s', (source, expected) => {
  const event = record({
    old: '{"status": "open"}',
    new: '{"status": "paid", "total": 1500.00, "vip": true, "email": "a@example.org"}',
  });
  expect(quickTest(compile(source).ast)?.(eventScope(createScope(event)))).toBe(expected);
});
