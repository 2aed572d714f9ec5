import { expect, test } from 'vitest';
import type { TelemetryEvent } from '../../src/domain/telemetry.ts';
import { PendingQuotas } from '../../src/pipeline/decide/pending-quotas.ts';
import type { NewDelivery } from '../../src/transport/contract.ts';
import { count, drained, eventually, migrated, receiver, rules, run } from '../deliver/fixture.ts';

const of = (tenant: string | null, observer = 'all') =>
  ({ event: { tenant }, observer, orderingKey: 'k' }) as NewDelivery;
const many = (tenant: string | null, n: number) => Array.from({ length: n }, () => of(tenant));

function quotasOver(waiting: Map<string, number>) {
  const told: TelemetryEvent[] = [];
  const counts = { made: 0 };
  const quotas = new PendingQuotas({
    quotas: () => ({
      common: { maxPending: 10, maxRate: null },
      named: new Map([
        ['large', { maxPending: 1_000, maxRate: null }],
        ['free', { maxPending: null, maxRate: null }],
      ]),
    }),
    readPending: async () => {
      counts.made += 1;
      return waiting;
    },
    mustQueue: ({ observer }) => observer === 'ordered',
    telemetry: (event) => told.push(event),
  });
  return { quotas, told, counts };
}

test('what is beyond the quota is told apart, by tenant; who has none is never counted', async () => {
  const { quotas, told } = quotasOver(new Map([['a', 8]]));
  const batch = [...many('a', 4), ...many('b', 3), ...many(null, 50), ...many('free', 50), ...many('large', 50)];
  const { within, over } = await quotas.share(batch, 0);
  expect(over.map(({ event }) => event.tenant)).toEqual(['a', 'a']);
  expect(within).toHaveLength(155);
  expect(told).toEqual([{ type: 'quota.exceeded', tenant: 'a', deliveries: 2, most: 10 }]);
});

test('the queue is counted once, and then only when somebody seems to be over, once a second at most', async () => {
  const waiting = new Map<string, number>();
  const { quotas, counts } = quotasOver(waiting);
  await quotas.share(many(null, 5), 0);
  expect(counts.made).toBe(0);
  for (let n = 0; n < 10; n++) expect((await quotas.share(many('a', 1), n)).over).toEqual([]);
  expect(counts.made).toBe(1);
  // All sent meanwhile: nobody tells the router, so it counts again before it refuses.
  expect((await quotas.share(many('a', 1), 1_001)).over).toEqual([]);
  expect(counts.made).toBe(2);
  waiting.set('a', 10);
  await quotas.share(many('a', 9), 1_002);
  expect((await quotas.share(many('a', 1), 1_003)).over).toHaveLength(1);
  expect((await quotas.share(many('a', 1), 2_500)).over).toHaveLength(1);
  expect(counts.made).toBe(3);
  waiting.set('a', 3);
  expect((await quotas.share(many('a', 1), 4_000)).over).toEqual([]);
  quotas.forget();
  await quotas.share(many('a', 1), 4_001);
  expect(counts.made).toBe(5);
});

test('what keeps its order whatever dies is queued all the same', async () => {
  const { quotas } = quotasOver(new Map([['a', 10]]));
  const { within, over } = await quotas.share([of('a'), of('a', 'ordered')], 0);
  expect([within.map(({ observer }) => observer), over.length]).toEqual([['ordered'], 1]);
});

test('beyond max_pending deliveries are dead letters, lose nothing, and can be replayed', async () => {
  const database = await migrated('quota');
  let broken = true;
  const { url, received } = await receiver({ respond: () => ({ status: broken ? 503 : 204 }) });
  const { told } = await run(
    rules(database.url, {
      destinations: {
        hook: {
          webhook: { url },
          retry: { attempts: 100, initial: '1ms', max: '10ms' },
          circuit_breaker: { minimum: 1, failure_rate: 0.1, open_for: '100ms', open_for_max: '100ms' },
        },
      },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
      settings: { tenants: { max_pending: 40, overrides: { acme: { max_pending: 60 } } } },
    }),
  );
  const emit = (tenant: string | null) =>
    database.query(
      `select count(observers.emit('orders', jsonb_build_object('n', n), tenant => $1)) from generate_series(1, 100) n`,
      [tenant],
    );
  for (const tenant of ['acme', 'small', null]) await emit(tenant);
  const dead = (tenant: string) => count(database, 'dead_letters', `reason = 'over_quota' and tenant = '${tenant}'`);
  await eventually(
    'all routed',
    async () => (await count(database, 'deliveries')) + (await count(database, 'dead_letters')) === 300,
  );
  expect([await dead('acme'), await dead('small'), await count(database, 'dead_letters')]).toEqual([40, 60, 100]);
  expect(told.filter(({ type }) => type === 'quota.exceeded').length).toBeGreaterThanOrEqual(2);
  const { rows } = await database.query<{ event: unknown; observer: string; action: string; error_class: string }>(
    "select event -> 'payload' is not null as event, observer, action, error_class from observers.dead_letters limit 1",
  );
  expect(rows).toEqual([{ event: true, observer: 'all', action: 'webhook-1', error_class: 'over_quota' }]);
  broken = false;
  await drained(database, 200);
  await database.query("select observers.replay(id) from observers.dead_letters where error_class = 'over_quota'");
  await drained(database, 300);
  expect(await count(database, 'dead_letters')).toBe(0);
  expect(new Set(received.entries.map(({ messageId }) => messageId)).size).toBe(300);
});
