/** What a claim takes when the deliveries of a destination have tenants. */
import { beforeAll, beforeEach, expect, test } from 'vitest';
import type { ClaimedBatch, DeliveryQueue, TenantTurns } from '../../src/transport/contract.ts';
import { plainClaimQuery, tenantClaimQuery } from '../../src/transport/postgres/claim-sql.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { createDeliveryQueue } from '../../src/transport/postgres/delivery-queue.ts';
import type { TestDatabase } from '../support/database.ts';
import { migrated } from './fixture.ts';

const instance = '018c0000-0000-7000-8000-000000000001';
let database: TestDatabase;
let queue: DeliveryQueue;

beforeAll(async () => {
  database = await migrated('turns');
  const pool = createPool(database.url, 4);
  queue = createDeliveryQueue({ durable: pool, claims: pool }, instance);
  return async () => {
    await pool.end();
    await database.drop();
  };
});

beforeEach(() => database.query('truncate observers.deliveries'));

/** So many rows of a tenant, due so long ago. */
async function fill(tenant: string | null, count: number, dueAgo = '1 second', destination = 'hook'): Promise<void> {
  await database.query(
    `insert into observers.deliveries
       (event_id, event_at, event_uid, observer, action, destination, tenant, state, due_at, rule_version)
     select n, now(), gen_random_uuid(), 'all', 'webhook-1', $4, $1, 'ready', now() - $3::interval, '1'
     from generate_series(1, $2::int) n`,
    [tenant, count, dueAgo, destination],
  );
}

const fair: TenantTurns = { after: null, most: 1_000, rooms: new Map() };

async function claim(slots: number, turns: Partial<TenantTurns> | null = {}): Promise<ClaimedBatch> {
  return queue.claim([{ destination: 'hook', slots, turns: turns && { ...fair, ...turns } }]);
}

/** How many of each tenant; '–' is what has none. */
function shares({ claimed }: ClaimedBatch): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { delivery } of claimed) counts[delivery.tenant ?? '–'] = (counts[delivery.tenant ?? '–'] ?? 0) + 1;
  return counts;
}

const seen = (batch: ClaimedBatch) => batch.tenants?.get('hook');

test('a claim that expects no tenants takes what has none, and says that there are some', async () => {
  await fill(null, 3);
  expect([shares(await claim(2, null)), seen(await claim(0, null))]).toEqual([{ '–': 2 }, undefined]);
  await fill('a', 3);
  const batch = await claim(5, null);
  expect(shares(batch)).toEqual({ '–': 1 });
  expect(seen(batch)).toEqual({ any: true, last: null, more: true, heldBack: [] });
});

test('tenants share evenly; what a poor one leaves is for the next claim', async () => {
  await fill('big', 100);
  await fill('b', 1);
  await fill('c', 50);
  await fill(null, 50, '1 day');
  const first = await claim(22);
  expect(shares(first)).toEqual({ b: 1, big: 6, c: 5, '–': 5 });
  expect(seen(first)).toEqual({ any: true, last: null, more: true, heldBack: [] });
  const second = await claim(20);
  expect(shares(second)).toEqual({ big: 7, c: 7, '–': 6 });
});

test('with fewer slots than tenants the turn goes round, and what has no tenant is one of them', async () => {
  for (const tenant of ['a', 'b', 'c', '']) await fill(tenant, 10);
  await fill(null, 10);
  const order: string[][] = [];
  let after: string | null = null;
  for (let n = 0; n < 5; n++) {
    const batch = await claim(2, { after });
    order.push(Object.keys(shares(batch)).sort());
    after = seen(batch)?.last ?? null;
  }
  expect(order).toEqual([
    ['', 'a'],
    ['b', 'c'],
    ['', '–'],
    ['a', 'b'],
    ['c', '–'],
  ]);
});

test('a tenant gets no more than its room; one without is passed over, and both are named', async () => {
  await fill('big', 100);
  await fill('stuck', 100);
  await fill('b', 2);
  await fill(null, 3);
  const rooms = new Map<string | null, number>([
    ['big', 4],
    ['stuck', 0],
    [null, 1],
  ]);
  const batch = await claim(50, { rooms });
  expect(shares(batch)).toEqual({ big: 4, b: 2, '–': 1 });
  const looked = seen(batch);
  expect([looked?.more, [...(looked?.heldBack ?? [])].sort()]).toEqual([false, ['big', 'stuck', null].sort()]);
  expect(shares(await claim(50, { most: 3, rooms: new Map([['stuck', 7]]) }))).toEqual({ big: 3, stuck: 7, '–': 2 });
});

test('nothing more: neither of those who have nothing due nor of those who have nothing', async () => {
  await fill('a', 1, '-1 hour');
  await fill('b', 2);
  await fill(null, 1, '-2 hours');
  const batch = await claim(10, { after: 'zz' });
  expect(shares(batch)).toEqual({ b: 2 });
  expect(seen(batch)).toMatchObject({ any: true, more: false, heldBack: [] });
  expect(batch.nextDueMs).toBeGreaterThan(3_500_000);
  expect(batch.nextDueMs).toBeLessThanOrEqual(3_600_000);
  await database.query('truncate observers.deliveries');
  const none = await claim(10);
  expect([none.claimed, seen(none)]).toEqual([[], { any: false, last: null, more: false, heldBack: [] }]);
});

test('a retry that is due later rings by its own time, also of a tenant that has something now', async () => {
  await fill('a', 1);
  await fill('a', 1, '-1 minute');
  const batch = await claim(10);
  expect(shares(batch)).toEqual({ a: 1 });
  expect(batch.nextDueMs).toBeLessThanOrEqual(60_000);
});

test('two that claim at once get different ones', async () => {
  for (let n = 0; n < 20; n++) await fill(`t${n}`, 10);
  const batches = await Promise.all(Array.from({ length: 8 }, () => claim(30)));
  const ids = batches.flatMap(({ claimed }) => claimed.map(({ delivery }) => delivery.id));
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.length).toBeGreaterThan(30);
});

test('several destinations in one claim do not mix', async () => {
  await fill('a', 5);
  await fill('a', 5, '1 second', 'other');
  await fill(null, 5, '1 second', 'plain');
  const batch = await queue.claim([
    { destination: 'hook', slots: 2, turns: fair },
    { destination: 'other', slots: 3, turns: { ...fair, rooms: new Map([['a', 1]]) } },
    { destination: 'plain', slots: 4 },
  ]);
  const count = (name: string) => batch.claimed.filter(({ delivery }) => delivery.destination === name).length;
  expect([count('hook'), count('other'), count('plain')]).toEqual([2, 1, 4]);
  expect(batch.tenants?.get('other')).toMatchObject({ heldBack: ['a'], more: false });
});

/** Planned once, for any parameters, maybe while the queue is empty: no plan may read what it does not claim. */
test.each(['empty', 'of one tenant', 'without tenants', 'mixed'])(
  'claims go by the indexes: a queue %s',
  async (kind) => {
    if (kind === 'of one tenant' || kind === 'mixed') await fill('big', 3_000);
    if (kind === 'without tenants' || kind === 'mixed') await fill(null, 3_000);
    if (kind === 'mixed') for (let n = 0; n < 50; n++) await fill(`t${n}`, 2);
    await database.query('vacuum analyze observers.deliveries');
    const explained = async (query: string, types: string, values: string) => {
      const text = [
        'set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off; deallocate all',
        `prepare one (${types}) as ${query}`,
        `explain (costs off) execute one (${values})`,
      ];
      const results = await database.query(text.join(';\n'));
      const last = (Array.isArray(results) ? results.at(-1) : results) as { rows: { 'QUERY PLAN': string }[] };
      return last.rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    const common = "'{hook}', '{5}', null, 4096";
    const plain = await explained(plainClaimQuery, 'text[], int[], uuid, int', common);
    const tenants = await explained(
      tenantClaimQuery,
      'text[], int[], uuid, int, text[], int[], jsonb[], int[]',
      `${common}, '{NULL}', '{5}', '{"{}"}', '{5}'`,
    );
    for (const plan of [plain, tenants]) {
      const scans = plan.match(/Scan.* on (observers\.)?deliveries .*/g) ?? [];
      expect(scans.length).toBeGreaterThan(2);
      for (const scan of scans) expect(scan).toMatch(/using deliveries_(turn|due|pkey)/);
      // Not one of them sorts or filters by what its index could have found.
      expect(plan).not.toMatch(/Filter: .*(due_at <=|tenant =|destination =)/);
    }
  },
);
