import type { EventRecord } from '../../src/domain/event.ts';
import type { Scope } from '../../src/domain/expression.ts';
import { createScope } from '../../src/expression/index.ts';

export const uid = '0193d2b4-8f5e-7c3a-9d2b-1f0e6a7c8b9d';

export function record(overrides: Partial<EventRecord> = {}): EventRecord {
  return {
    id: '7',
    uid,
    source: 'orders',
    operation: 'update',
    schema: 'public',
    table: 'orders',
    key: '42',
    tenant: null,
    old: null,
    new: null,
    payload: null,
    context: null,
    at: '2026-11-20T12:00:00.123456Z',
    ...overrides,
  };
}

export function scope(overrides: Partial<EventRecord> = {}): Scope {
  return createScope(record(overrides));
}

export function caught(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}
