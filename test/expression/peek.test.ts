import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseForEvaluation } from '../../src/expression/json.ts';
import { peek } from '../../src/expression/peek.ts';

const name = fc.constantFrom('a', 'b', 'ab', 'x "a', 'a"', '"a":', 'constructor', 'é');
const value = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -0.5,
    1e21,
    123456789012345,
    'a',
    'b',
    '"a": 1',
    'x "a',
    '\\',
    'a\\',
    '{',
    '}',
    ',',
  ),
  fc.string(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.array(fc.constant(1), { maxLength: 1 }),
  fc.record({ a: fc.constantFrom(1, 'a') }),
);
const row = fc.dictionary(name, value, { maxKeys: 5 });
/** As PostgreSQL prints jsonb, as JSON.stringify does, and as somebody may. */
const print = fc.constantFrom<(object: object) => string>(
  (object) =>
    `{${Object.entries(object)
      .map(([key, of]) => `${JSON.stringify(key)}: ${JSON.stringify(of)}`)
      .join(', ')}}`,
  (object) => JSON.stringify(object),
  (object) => JSON.stringify(object, null, 2).replaceAll('": ', '" : '),
);

test('what it finds is what parsing finds, or it leaves that to parsing', () => {
  let found = 0;
  fc.assert(
    fc.property(row, print, fc.constantFrom('a', 'b', 'ab', 'missing'), (object, printed, column) => {
      const text = printed(object);
      const seen = peek(text, `"${column}"`);
      if (seen === undefined) return;
      found += 1;
      const parsed = parseForEvaluation(text);
      const expected = parsed instanceof Map ? parsed.get(column) : (parsed as Record<string, unknown>)[column];
      expect(seen).toBe(expected ?? null);
    }),
    { numRuns: 3_000 },
  );
  expect(found).toBeGreaterThan(1_000);
});

test.each([
  ['{"n": 5}', 5],
  ['{"m": 1, "n": "five"}', 'five'],
  ['{"m": "n", "n": -1.50}', -1.5],
  ['{"m": 1}', null],
  ['{}', null],
  ['{"n": null}', null],
  ['{"n": 123456789012345}', 123456789012345],
  ['{"n": 9007199254740993}', undefined],
  ['{"n": "a \\"quote\\""}', undefined],
  ['{"n": 1, "m": {"n": 2}}', undefined],
  ['{"n": 1, "m": []}', undefined],
  ['[1]', undefined],
  ['"n"', undefined],
  ['null', undefined],
])('n of %s is %j', (text, expected) => {
  expect(peek(text, '"n"')).toBe(expected);
});
