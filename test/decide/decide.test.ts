import { expect, test } from 'vitest';
import { defineConfig } from '../../src/config/index.ts';
import type { EventRecord } from '../../src/domain/event.ts';
import { decide } from '../../src/pipeline/decide/decide.ts';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';

const actions = [{ webhook: 'http://127.0.0.1:9/x' }];
const sources = {
  orders: { table: 'public.orders' },
  people: { table: 'public.people' },
  signups: { topic: 'user.signup' },
};

const index = (observers: Record<string, unknown>) =>
  new RuleIndex(
    defineConfig({ version: 1, database: 'postgres://127.0.0.1/x', sources, observers } as never, { env: {} }),
  );

let ids = 0;
function event(fields: Partial<EventRecord> = {}): EventRecord {
  ids += 1;
  return {
    id: String(ids),
    uid: `00000000-0000-7000-8000-${String(ids).padStart(12, '0')}`,
    source: 'orders',
    operation: 'update',
    schema: 'public',
    table: 'orders',
    key: '42',
    tenant: null,
    old: '{"id": 42, "status": "open", "total": 900}',
    new: '{"id": 42, "status": "paid", "total": 1500.00}',
    payload: null,
    context: null,
    at: '2026-11-20T12:00:00.123456Z',
    ...fields,
  };
}

test.each([
  [
    '"status" in changed && new.status == "paid" && new.total > 1000',
    { all: [{ changed: 'status' }, { 'new.status': 'paid' }, { 'new.total': { gt: 1000 } }] },
  ],
  ['old.status == "paid" || new.total >= 500', { any: [{ 'old.status': 'paid' }, { 'new.total': { gte: 500 } }] }],
  ['!(new.status == "paid")', { not: { 'new.status': 'paid' } }],
])('expression and tree decide alike: %s', (expression, tree) => {
  const rules = index({
    expression: { source: 'orders', when: expression, actions },
    tree: { source: 'orders', when: tree, actions },
  });
  const events = [
    event(),
    event({ new: '{"status": "open", "total": 100}' }),
    event({ new: '{"status": "paid", "total": 1000}' }),
    event({ old: '{"status": "paid", "total": 1}' }),
    event({ new: '{"status": "paid", "total": 9007199254740993}' }),
  ];
  const { deliveries, faults } = decide(events, rules);
  const of = (observer: string) => deliveries.filter((d) => d.observer === observer).map((d) => d.event.id);
  expect(faults).toEqual([]);
  expect(of('expression').length).toBeGreaterThan(0);
  expect(of('expression').length).toBeLessThan(events.length);
  expect(of('tree')).toEqual(of('expression'));
});

test('a condition that fails is the fault of its observer alone', () => {
  const rules = index({
    before: { source: 'orders', actions },
    broken: { source: 'orders', when: 'new.total / new.zero > 1', actions },
    after: { source: 'orders', when: 'new.total > 1000', actions },
  });
  const bad = event({ new: '{"total": 1500, "zero": "text"}' });
  const good = event();
  const { deliveries, faults } = decide([bad, good], rules);
  expect(deliveries.filter((d) => d.event === bad).map((d) => d.observer)).toEqual(['before', 'after']);
  expect(deliveries.filter((d) => d.event === good).map((d) => d.observer)).toContain('after');
  expect(faults.filter((f) => f.event === bad)).toMatchObject([
    { observer: 'broken', ruleVersion: expect.stringMatching(/./) },
  ]);
  expect(faults[0]?.message).toContain('new.total / new.zero > 1');
});

test('the index yields the observers of this source and operation, in the order of the file', () => {
  const rules = index({
    z: { source: 'orders', actions },
    inserts: { source: 'orders', on: ['insert'], actions },
    a: { source: 'orders', on: ['insert', 'update'], actions },
    others: { source: 'people', actions },
    reads: { source: 'orders', on: ['read'], actions },
  });
  const names = (fields: Partial<EventRecord>) => rules.candidates(event(fields)).map(({ name }) => name);
  expect(names({})).toEqual(['z', 'a']);
  expect(names({ operation: 'insert' })).toEqual(['z', 'inserts', 'a']);
  expect(names({ operation: 'read' })).toEqual(['reads']);
  expect(names({ source: 'people' })).toEqual(['others']);
  expect(names({ source: 'people', operation: 'read' })).toEqual([]);
  expect(names({ source: 'nowhere' })).toEqual([]);
});

test.each([
  ['key', '42'],
  ['new.id', '42'],
  ['new.total', '1500'],
  ['9007199254740993', '9007199254740993'],
  ['new.missing', null],
  ['event.tenant', null],
  ['[new.id, new.status]', '[42,"paid"]'],
])('order_by %s', (orderBy, expected) => {
  const { deliveries, faults } = decide([event()], index({ o: { source: 'orders', order_by: orderBy, actions } }));
  expect(faults).toEqual([]);
  expect(deliveries.map((d) => d.orderingKey)).toEqual([expected]);
});

test('conditions see a topic under the name of its source, and so do deliveries', () => {
  const rules = index({
    o: { source: 'signups', when: 'event.source == "signups" && payload.user > 6', actions },
  });
  const stored = event({
    source: 'user.signup',
    operation: 'emit',
    schema: null,
    table: null,
    old: null,
    new: null,
    payload: '{"user": 7}',
  });
  const { events, deliveries } = decide([stored], rules);
  expect(events.map(({ source }) => source)).toEqual(['signups']);
  expect(deliveries.map((d) => d.event)).toEqual(events);
  // A table source that is called like the topic is something else.
  expect(rules.named(event({ source: 'user.signup' })).source).toBe('user.signup');
});
