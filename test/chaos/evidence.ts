/** What the database knows at the end, in the checker's terms. */

import { messageId } from '../../src/domain/delivery.ts';
import type { DeadLetter, Expected } from './checker.ts';
import type { Cluster } from './cluster.ts';
import type { Observer, Source } from './observers.ts';
import { type Change, canonical, deliveryName, digestOf, parseExactly } from './workload/change.ts';

/** Ordered by the column, qualified: a bare name means the text that is selected under it, and `10` comes before `9`. */
const page = 20_000;

interface CommittedRow {
  op: string;
  mark: string;
  source: Source;
  operation: string;
  key: string;
  tenant: string | null;
  old: string | null;
  new: string | null;
  payload: string | null;
}

/** Every delivery that what committed has to lead to. */
export async function readExpected(
  cluster: Cluster,
  observers: readonly Observer[],
): Promise<{ events: number; expected: Expected[] }> {
  const expected: Expected[] = [];
  let events = 0;
  for (let after = '0'; ; ) {
    const { rows } = await cluster.query<CommittedRow>(
      `select op::text, mark::text, source, operation, key, tenant, old::text, new::text, payload::text
       from chaos.committed c where c.op > $1 order by c.op limit ${page}`,
      [after],
    );
    for (const row of rows) expected.push(...deliveriesOf(toChange(row), observers));
    events += rows.length;
    if (rows.length < page) return { events, expected };
    after = rows.at(-1)?.op ?? after;
  }
}

function deliveriesOf(change: Change, observers: readonly Observer[]): Expected[] {
  return observers
    .filter(({ source, when }) => source === change.source && (when === undefined || when.holds(change)))
    .map(({ name, inOrder, destination, sourceName = change.source, optional }) => ({
      delivery: deliveryName(name, sourceName, change.operation, change.mark),
      digest: digestOf({ ...change.told, source: sourceName }),
      optional: optional === true,
      lane: inOrder === true ? `${destination} ${change.source} ${change.key}` : null,
      order: change.op,
    }));
}

function toChange(row: CommittedRow): Change {
  const [before, after] = [row.old, row.new].map((text) => (text === null ? null : parseExactly(text)));
  const data =
    row.payload === null
      ? { new: after, old: before, changed: changedOf(before, after) }
      : { payload: parseExactly(row.payload) };
  const amount = (after as { amount?: unknown } | null)?.amount;
  return {
    source: row.source,
    operation: row.operation,
    op: Number(row.op),
    mark: row.mark,
    key: row.key,
    amount: amount === undefined ? null : Number(amount),
    told: { source: row.source, operation: row.operation, key: row.key, tenant: row.tenant, data },
  };
}

function changedOf(before: unknown, after: unknown): string[] {
  if (before === null || after === null) return [];
  const old = before as Record<string, unknown>;
  return Object.entries(after as object)
    .filter(([name, value]) => canonical(old[name]) !== canonical(value))
    .map(([name]) => name);
}

interface SettledRow {
  n: string;
  event_uid: string;
  observer: string;
  action: string;
  at: number;
}

/** When each delivery left the queue, by message id, and which left it more than once. */
export async function readSettlements(
  cluster: Cluster,
): Promise<{ settledAt: ReadonlyMap<string, number>; settledTwice: readonly string[] }> {
  const settledAt = new Map<string, number>();
  const settledTwice: string[] = [];
  for (let after = '0'; ; ) {
    const { rows } = await cluster.query<SettledRow>(
      `select n::text, event_uid::text, observer, action, (extract(epoch from at) * 1000)::float8 as at
       from chaos.settled s where s.n > $1 order by s.n limit ${page}`,
      [after],
    );
    for (const { event_uid, observer, action, at } of rows) {
      const id = messageId(event_uid, observer, action);
      if (settledAt.has(id)) settledTwice.push(id);
      else settledAt.set(id, at);
    }
    after = rows.at(-1)?.n ?? after;
    if (rows.length < page) break;
  }
  return { settledAt, settledTwice };
}

export async function readDeadLetters(cluster: Cluster): Promise<readonly DeadLetter[]> {
  const { rows } = await cluster.query<{
    observer: string;
    reason: string;
    source: string;
    operation: string;
    mark: string;
  }>(
    `select observer, reason, event ->> 'source' as source, event ->> 'operation' as operation,
            coalesce(event -> 'new' ->> 'op', event -> 'payload' ->> 'op', event -> 'old' ->> 'op') as mark
     from observers.dead_letters`,
  );
  return rows.map(({ observer, reason, source, operation, mark }) => ({
    delivery: deliveryName(observer, source, operation, mark),
    reason,
  }));
}

export async function countLeftovers(cluster: Cluster): Promise<number> {
  const { rows } = await cluster.query<{ count: number }>(
    `select ((select count(*) from observers.deliveries) + (select count(*) from observers.lanes))::int as count`,
  );
  return rows[0]?.count ?? 0;
}
