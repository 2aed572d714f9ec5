/** Random conditions and the random events they meet: few names and values, so that they do. */

import fc from 'fast-check';
import type { EventRecord } from '../../src/domain/event.ts';
import { record } from './record.ts';

/** As PostgreSQL prints them; some equal each other in value, some only in text. */
const jsonScalars = [
  '100',
  '100.00',
  '1e2',
  '-0.0',
  '0',
  '"100"',
  '"a"',
  '"b"',
  '""',
  '"A b"',
  'null',
  'true',
  'false',
  '9007199254740992',
  '9007199254740993',
  '-9007199254740993',
  '100000000000000000000',
  '1e20',
  '0.1',
];
const names = ['a', 'b', 'c', 'odd name', 'constructor', '__proto__'];

const jsonValue = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...jsonScalars) },
  fc.constantFrom(
    '[]',
    '["a", 100]',
    '{}',
    '{"a": 100}',
    '{"a": {"b": "a"}}',
    '{"constructor": "a"}',
    '[9007199254740993]',
  ),
);
const row = fc.dictionary(fc.constantFrom(...names), jsonValue, { maxKeys: 5 }).map(
  (columns) =>
    `{${Object.entries(columns)
      .map(([name, value]) => `${JSON.stringify(name)}: ${value}`)
      .join(', ')}}`,
);
const image = fc.option(row, { freq: 6 });

export const eventOf: fc.Arbitrary<EventRecord> = fc
  .record({
    operation: fc.constantFrom('insert' as const, 'update' as const, 'update' as const, 'delete' as const),
    old: image,
    new: image,
    payload: fc.option(fc.oneof(row, jsonValue), { freq: 2 }),
    context: fc.option(row, { freq: 2 }),
    key: fc.constantFrom(null, '42', 'a'),
    tenant: fc.constantFrom(null, 'a', '100'),
  })
  .map((fields) => record(fields));

const literal = fc.constantFrom(
  '100',
  '100.0',
  '1e2',
  '-100',
  '0',
  '0.1',
  '"100"',
  '"a"',
  '"b"',
  'null',
  'true',
  'false',
  '9007199254740992',
  '9007199254740993',
  '-9007199254740993',
  '9007199254740992.0',
  '1e20',
);
const field = fc.constantFrom(
  'new.a',
  'new.b',
  'new["odd name"]',
  'new.c',
  'new["constructor"]',
  'new.__proto__',
  'new.a.b',
  'new.a.constructor',
  'old.a',
  'old.b.a.b',
  'old.c[0]',
  'payload.a',
  'payload[0]',
  'payload',
  'event.tenant',
  'event.key',
  'event.context.a',
);

const leaf = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(field, fc.constantFrom('==', '!='), literal).map((parts) => parts.join(' ')) },
  { weight: 2, arbitrary: fc.tuple(literal, fc.constantFrom('==', '!='), field).map((parts) => parts.join(' ')) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(field, fc.constantFrom('<', '<=', '>', '>='), fc.oneof(literal, field))
      .map((parts) => parts.join(' ')),
  },
  fc.tuple(field, fc.constantFrom('==', '!='), field).map((parts) => parts.join(' ')),
  {
    weight: 3,
    arbitrary: fc.tuple(field, fc.array(literal, { maxLength: 4 })).map(([f, l]) => `${f} in [${l.join(', ')}]`),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom(...names), fc.boolean())
      .map(([name, method]) => (method ? `changed.contains("${name}")` : `"${name}" in changed`)),
  },
  fc
    .tuple(field, fc.constantFrom('startsWith("a")', 'endsWith("b")', 'contains("0")', 'matches("^[a1]")'))
    .map((parts) => parts.join('.')),
  field,
  // Faults by nature, on some events or on all.
  fc.constantFrom(
    '1 / 0 == 1',
    'new.a / new.b > 1.0',
    'ts(new.a) > ts("2026-01-01")',
    'size(new.b) > 0',
    'event.operation == "update"',
  ),
  fc.constantFrom('true', 'false', 'new.a == 100 ? true : false', '[1, 2].exists(x, new.a == x)'),
);

export const condition: fc.Arbitrary<string> = fc.letrec<{ condition: string }>((tie) => ({
  condition: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    leaf,
    fc.tuple(tie('condition'), tie('condition')).map(([a, b]) => `(${a}) && (${b})`),
    fc.tuple(tie('condition'), tie('condition')).map(([a, b]) => `(${a}) && (${b})`),
    fc.tuple(tie('condition'), tie('condition')).map(([a, b]) => `(${a}) || (${b})`),
    tie('condition').map((a) => `!(${a})`),
  ),
})).condition;

const treeField = fc.constantFrom('new.a', 'new.b', 'new["odd name"]', 'old.a', 'payload.a', 'event.tenant', 'new.a.b');
const scalar = fc.constantFrom<unknown>(
  100,
  100.5,
  0,
  '100',
  'a',
  'b',
  true,
  null,
  9007199254740992n,
  9007199254740993n,
);
const orderable = fc.constantFrom<unknown>(100, 0, 'a', 9007199254740993n);

export const tree: fc.Arbitrary<unknown> = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small' },
    { weight: 3, arbitrary: fc.tuple(treeField, scalar).map(([f, value]) => ({ [f]: value })) },
    fc.constantFrom(...names).map((changed) => ({ changed })),
    fc.tuple(fc.constantFrom('a', 'b'), fc.constantFrom('c', 'odd name')).map((changed) => ({ changed })),
    fc
      .tuple(treeField, fc.array(scalar, { minLength: 1, maxLength: 3 }), fc.constantFrom('in', 'not_in'))
      .map(([f, l, operator]) => ({
        [f]: { [operator]: l },
      })),
    fc
      .tuple(treeField, orderable, fc.constantFrom('gt', 'gte', 'lt', 'lte', 'ne'))
      .map(([f, value, operator]) => ({ [f]: { [operator]: value } })),
    fc.tuple(treeField, fc.boolean()).map(([f, exists]) => ({ [f]: { exists } })),
    fc
      .tuple(fc.constantFrom('all', 'any'), fc.array(tie('tree'), { minLength: 1, maxLength: 3 }))
      .map(([all, trees]) => ({ [all]: trees })),
    tie('tree').map((not) => ({ not })),
  ),
})).tree;
