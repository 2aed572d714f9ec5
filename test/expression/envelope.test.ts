import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changedColumns, compileExpression, eventEnvelope } from '../../src/expression/index.ts';
import { record, scope, uid } from './record.ts';

describe('the event envelope', () => {
  it('carries rows as PostgreSQL printed them', () => {
    const before = '{"id": 42, "total": 100.0, "wei": 123456789012345678901234567890}';
    const after = '{"id": 42, "total": 100.00, "wei": 123456789012345678901234567890}';
    expect(eventEnvelope(record({ old: before, new: after }))).toBe(
      `{"id":"${uid}","type":"orders.update","timestamp":"2026-11-20T12:00:00.123456Z","source":"orders",` +
        `"operation":"update","key":"42","tenant":null,"data":{"new":${after},"old":${before},"changed":["total"]}}`,
    );
  });

  it('has null for a row that is not there, and context where there is one', () => {
    const inserted = JSON.parse(
      eventEnvelope(record({ operation: 'insert', new: '{"id": 1}', tenant: 'a"b', context: '{"user": 7}' })),
    );
    expect(inserted).toMatchObject({ type: 'orders.insert', tenant: 'a"b', context: { user: 7 } });
    expect(inserted.data).toEqual({ new: { id: 1 }, old: null, changed: [] });
    const truncated = JSON.parse(eventEnvelope(record({ operation: 'truncate', key: null })));
    expect(truncated.data).toEqual({ new: null, old: null, changed: [] });
    expect(truncated).not.toHaveProperty('context');
  });

  it('carries the payload of channels and topics', () => {
    const notified = record({ operation: 'notify', payload: '"hello"', schema: null, table: null });
    expect(JSON.parse(eventEnvelope(notified)).data).toEqual({ payload: 'hello' });
    expect(JSON.parse(eventEnvelope(record({ operation: 'emit' }))).data).toEqual({ payload: null });
  });
});

describe('changed columns', () => {
  it('are those whose text differs', () => {
    expect(
      changedColumns('{"a": 1, "b": [1, {"c": "}\\","}], "d": 1}', '{"a": 1, "b": [1, {"c": "}\\",x"}], "e": 1}'),
    ).toEqual(['b', 'e', 'd']);
    expect(changedColumns(null, '{"a": 1}')).toEqual([]);
    expect(changedColumns('{}', '{}')).toEqual([]);
  });

  it('are empty in an expression unless the event is an update', () => {
    const rows = { old: '{"a": 1}', new: '{"a": 2}' };
    expect(compileExpression('changed').evaluate(scope(rows))).toEqual(['a']);
    expect(compileExpression('changed').evaluate(scope({ ...rows, operation: 'insert' }))).toEqual([]);
  });

  it('agree with comparing the members one by one', () => {
    const escaped = fc.string({ unit: fc.constantFrom('"', '\\', 'a', ',', '}'), maxLength: 6 });
    const value = fc.oneof(fc.jsonValue({ maxDepth: 3 }), escaped);
    const name = fc.oneof(fc.string({ unit: 'binary', maxLength: 4 }), escaped);
    const row = fc.dictionary(name, value, { maxKeys: 6 });
    fc.assert(
      fc.property(row, row, fc.boolean(), (before, other, spaced) => {
        const after: Record<string, unknown> = { ...before, ...other };
        const print = (json: unknown) => JSON.stringify(json, null, spaced ? 1 : 0);
        const expected = Object.keys(after).filter(
          (key) => !Object.hasOwn(before, key) || print(before[key]) !== print(after[key]),
        );
        expect(changedColumns(print(before), print(after))).toEqual(expected);
      }),
    );
  });
});
