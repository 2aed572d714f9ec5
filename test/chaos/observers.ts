import type { Change } from './workload/change.ts';

/** What the rules file says of an observer, and what the checker expects of it: written down once. */
export interface Observer {
  readonly name: string;
  readonly source: Source;
  /** In the file, when it is another source of the same table. */
  readonly sourceName?: string;
  readonly destination: string;
  /** CEL, as in the file, and the same for the checker. */
  readonly when?: { readonly cel: string; readonly holds: (change: Change) => boolean };
  /** `order_by: key`. */
  readonly inOrder?: boolean;
  /** Comes and goes with the rules: what arrives must be right, and nothing has to. */
  readonly optional?: boolean;
}

export type Source = 'orders' | 'items' | 'notes' | 'signals';

export const sources: Readonly<Record<Source, string>> = {
  orders: 'table: shop.orders, tenant: tenant',
  items: 'table: shop.items',
  notes: 'table: shop.notes, tenant: tenant',
  signals: 'topic: signals',
};

export const usualObservers: readonly Observer[] = [
  { name: 'every-order', source: 'orders', destination: 'audit' },
  { name: 'orders-in-order', source: 'orders', destination: 'ledger', inOrder: true },
  { name: 'items-in-order', source: 'items', destination: 'ledger', inOrder: true },
  {
    name: 'big-order',
    source: 'orders',
    destination: 'big',
    when: { cel: 'new.amount >= 500', holds: ({ amount }) => amount !== null && amount >= 500 },
  },
  { name: 'notes', source: 'notes', destination: 'notes' },
  { name: 'signals-in-order', source: 'signals', destination: 'signals', inOrder: true },
];

export const destinations: readonly string[] = [...new Set(usualObservers.map(({ destination }) => destination))];
