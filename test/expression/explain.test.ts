/** The explanation of a condition: what each part is, and that the whole always says what the compiled condition does. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EventRecord } from '../../src/domain/event.ts';
import type { CompiledExpression } from '../../src/domain/expression.ts';
import {
  compileCondition,
  compileTree,
  createScope,
  type Explained,
  explainCondition,
  fires,
} from '../../src/expression/index.ts';
import { partOf } from '../../src/expression/source-range.ts';
import { condition, eventOf, tree } from './arbitrary.ts';
import { record, scope } from './record.ts';

function actual(compiled: CompiledExpression, event: EventRecord): string {
  try {
    return String(fires(compiled.evaluate(createScope(event))));
  } catch {
    return 'error';
  }
}

/** A value that is neither does not fire. */
const told = ({ verdict }: Explained) => (verdict === 'value' ? 'false' : verdict);

describe('agrees with the compiled condition', () => {
  test('on random expressions and events', () => {
    fc.assert(
      fc.property(condition, fc.array(eventOf, { minLength: 1, maxLength: 6 }), (source, events) => {
        const compiled = compileCondition(source);
        for (const event of events)
          expect(told(explainCondition(compiled, createScope(event)))).toBe(actual(compiled, event));
      }),
      { numRuns: 1_000 },
    );
  });

  test('on random trees and events', () => {
    fc.assert(
      fc.property(tree, fc.array(eventOf, { minLength: 1, maxLength: 6 }), (written, events) => {
        const compiled = compileTree(written);
        for (const event of events)
          expect(told(explainCondition(compiled, createScope(event)))).toBe(actual(compiled, event));
      }),
      { numRuns: 500 },
    );
  });

  test('on choices in choices', () => {
    const choice = fc.tuple(condition, condition, condition).map(([a, b, c]) => `((${a}) ? (${b}) : (${c})) && (${a})`);
    fc.assert(
      fc.property(choice, eventOf, (source, event) => {
        const compiled = compileCondition(source);
        expect(told(explainCondition(compiled, createScope(event)))).toBe(actual(compiled, event));
      }),
      { numRuns: 500 },
    );
  });
});

const paid = scope({
  old: '{"status": "open", "total": 800.00, "vip": 1, "tags": ["a"]}',
  new: '{"status": "paid", "total": 800.00, "vip": 1, "tags": ["a"]}',
});

/** `text: verdict (what it read)`, indented by depth. */
function lines(explained: Explained, depth = 0): string[] {
  const { source, verdict, operator, parts, values } = explained;
  const read = values.map(({ of, json }) => `${of} ${json ?? 'missing'}`).join(', ');
  const head = `${'  '.repeat(depth)}${operator ?? source}: ${verdict}${read === '' ? '' : ` (${read})`}`;
  return [head, ...parts.flatMap((part) => lines(part, depth + 1))];
}

const linesOf = (source: string) => lines(explainCondition(compileCondition(source), paid));

describe('shows', () => {
  test('which part was false, and with what', () => {
    expect(linesOf('"status" in changed && new.status == "paid" && new.total > 1000 && new.vip == 1')).toEqual([
      'all: false',
      '  "status" in changed: true (changed ["status"])',
      '  new.status == "paid": true (new.status "paid")',
      '  new.total > 1000: false (new.total 800.00)',
      '  new.vip == 1: skipped',
    ]);
  });

  test('the parts of a tree in the same way', () => {
    const compiled = compileTree({ any: [{ 'new.status': 'open' }, { not: { 'new.total': { gt: 1000, lt: 2000 } } }] });
    expect(lines(explainCondition(compiled, paid))).toEqual([
      'any: true',
      '  new.status == "open": false (new.status "paid")',
      '  not: true',
      '    all: false',
      '      new.total > 1000: false (new.total 800.00)',
      '      new.total < 2000: skipped',
    ]);
  });

  test('errors, also beside what decides, and what is not there', () => {
    expect(linesOf('new.status > 5 && new.nothing == 1')).toEqual([
      'all: false',
      '  new.status > 5: error (new.status "paid")',
      '  new.nothing == 1: false (new.nothing missing)',
    ]);
    const failed = explainCondition(compileCondition('new.vip && true'), paid);
    expect(failed).toMatchObject({ verdict: 'error', error: 'new.vip is neither true nor false' });
    expect(failed.parts[0]).toMatchObject({ verdict: 'value', values: [{ of: 'new.vip', json: '1' }] });
  });

  test('what is computed before it is compared, and nothing of the elements of a loop', () => {
    expect(linesOf('(new.total + 1.0) * 2.0 > 9.0 && !(size(new.tags) > 3)')).toEqual([
      'all: true',
      '  (new.total + 1.0) * 2.0 > 9.0: true ((new.total + 1.0) * 2.0 1602, new.total 800.00)',
      '  not: true',
      '    size(new.tags) > 3: false (size(new.tags) 1, new.tags ["a"])',
    ]);
    expect(linesOf('new.tags.exists(new, new == "a") || old.tags.exists(t, t == new.status)')).toEqual([
      'any: true',
      '  new.tags.exists(new, new == "a"): true (new.tags ["a"])',
      '  old.tags.exists(t, t == new.status): skipped',
    ]);
  });

  test('a number that JSON has no word for is not shown as null, of which the opposite would hold', () => {
    expect(linesOf('new.total / (new.vip - 1) > 500')).toEqual([
      'new.total / (new.vip - 1) > 500: true (new.total / (new.vip - 1) "Infinity", new.total 800.00, new.vip 1)',
    ]);
  });

  test('the branch that was taken', () => {
    expect(linesOf('new.vip == 1 ? new.total > 500 : new.total > 1000')).toEqual([
      'if: true',
      '  new.vip == 1: true (new.vip 1)',
      '  new.total > 500: true (new.total 800.00)',
      '  new.total > 1000: skipped',
    ]);
  });
});

test.each([
  ['(a + 1) * 2 > 3 && b', 1, 15, '(a + 1) * 2 > 3'],
  ['!( (a > 2) ) && b', 0, 9, '!( (a > 2) )'],
  ['x == ")" && (b)', 0, 8, 'x == ")"'],
  ["x == r'\\' && (b)", 0, 9, "x == r'\\'"],
])('the range of a part of %s', (source, start, end, part) => {
  expect(partOf(source, { start, end })).toBe(part);
});

test('an event without images', () => {
  expect(lines(explainCondition(compileCondition('old.total > 5 && payload.x == 1'), createScope(record())))).toEqual([
    'all: false',
    '  old.total > 5: false (old.total missing)',
    '  payload.x == 1: skipped',
  ]);
});
