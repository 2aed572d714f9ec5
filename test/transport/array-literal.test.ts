import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { booleanArray, digitsArray, textArray } from '../../src/transport/postgres/array-literal.ts';
import { migrated } from '../deliver/fixture.ts';
import type { TestDatabase } from '../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await migrated('array_literal');
});

async function readBack<T>(type: string, literal: string): Promise<T[]> {
  const { rows } = await database.query<{ v: T }>(
    `select v from unnest($1::${type}[]) with ordinality as u(v, n) order by n`,
    [literal],
  );
  return rows.map(({ v }) => v);
}

test('whatever text holds comes back as it was, and nothing from null', async () => {
  const awkward = ['', ' ', 'null', 'NULL', '{}', '{a,b}', ',', '"', '\\', '\\"', '\\\\', 'a"b\\c', '\n\t', 'ä€😀'];
  // PostgreSQL text holds no U+0000: `storable` sees to it before.
  const storable = fc.string({ unit: 'binary' }).filter((text) => !text.includes('\u0000') && text.isWellFormed());
  const value = fc.oneof(fc.constant(null), fc.constantFrom(...awkward), storable);
  await fc.assert(
    fc.asyncProperty(fc.array(value, { maxLength: 20 }), async (values) => {
      expect(await readBack('text', textArray(values))).toEqual(values);
    }),
    { numRuns: 200, examples: [[[...awkward, null, null, ...awkward]], [[]], [[null]], [['x', 'x', null, 'x']]] },
  );
});

test('documents stay documents', async () => {
  const documents = [{ a: 'with "quotes" and \\ and {braces}' }, [1, null, 'x,y'], 'text', null, { b: '\n' }];
  const literal = textArray(documents.map((document) => (document === null ? null : JSON.stringify(document))));
  expect(await readBack('jsonb', literal)).toEqual(documents);
});

test('digits keep every digit', async () => {
  expect(await readBack('bigint', digitsArray(['9223372036854775807', null, '-1', 0]))).toEqual([
    '9223372036854775807',
    null,
    '-1',
    '0',
  ]);
  expect(await readBack('float8', digitsArray([1.5, 1e-9, 1e21, null]))).toEqual([1.5, 1e-9, 1e21, null]);
});

test('true and false', async () => {
  expect(await readBack('boolean', booleanArray([true, false, true]))).toEqual([true, false, true]);
  expect(await readBack('boolean', booleanArray([]))).toEqual([]);
});
