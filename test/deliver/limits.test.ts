import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Delivery } from '../../src/domain/delivery.ts';
import type { CircuitBreakerPolicy, TenantQuotas, WebhookDestination } from '../../src/domain/rules.ts';
import { CircuitBreaker } from '../../src/pipeline/deliver/circuit-breaker.ts';
import { DestinationLane } from '../../src/pipeline/deliver/destination-lane.ts';
import { TenantRates } from '../../src/pipeline/deliver/tenant-rates.ts';
import { TokenBucket } from '../../src/pipeline/deliver/token-bucket.ts';
import type { Turn } from '../../src/pipeline/deliver/turn.ts';
import type { ClaimedDelivery } from '../../src/transport/contract.ts';
import { webhookDestination } from '../actions/fixtures.ts';

const policy: CircuitBreakerPolicy = {
  failureRate: 0.5,
  minimum: 4,
  windowMs: 1_000,
  openForMs: 500,
  openForMaxMs: 1_500,
  successes: 1,
  per: 'destination',
};

describe('circuit breaker', () => {
  /** Attempts that begin and end at `now`. */
  const attempts = (breaker: CircuitBreaker, now: number, ...failed: (boolean | null)[]) => {
    for (const one of failed) breaker.finished(one, breaker.started(now), now);
  };
  const opened = (now = 0) => {
    const breaker = new CircuitBreaker(policy);
    attempts(breaker, now, true, true, true, true);
    expect(breaker.state(now)).toBe('open');
    return breaker;
  };

  test('opens at the failure rate, not before the minimum', () => {
    const breaker = new CircuitBreaker(policy);
    attempts(breaker, 0, true, true, true);
    expect(breaker.state(0)).toBe('closed');
    attempts(breaker, 0, false);
    expect(breaker.state(0)).toBe('open');
    expect([breaker.permits(0), breaker.waitMs(0), breaker.waitMs(400)]).toEqual([0, 500, 100]);
  });

  test('stays closed below the rate, and forgets what left the window', () => {
    const breaker = new CircuitBreaker(policy);
    attempts(breaker, 0, true, false, false, true, false);
    expect(breaker.state(0)).toBe('open');
    const calm = new CircuitBreaker(policy);
    attempts(calm, 0, true, false, false, false, true, false);
    expect(calm.state(0)).toBe('closed');
    attempts(calm, 1_500, true, true, true);
    expect(calm.state(1_500)).toBe('closed');
  });

  test('lets one probe through when half-open, and closes when that succeeds', () => {
    const breaker = opened();
    expect(breaker.state(499)).toBe('open');
    expect([breaker.state(500), breaker.permits(500), breaker.waitMs(500)]).toEqual(['half-open', 1, 0]);
    const probe = breaker.started(500);
    expect(breaker.permits(500)).toBe(0);
    breaker.finished(false, probe, 600);
    expect([breaker.state(600), breaker.permits(600)]).toEqual(['closed', Number.POSITIVE_INFINITY]);
    // With a clean window.
    attempts(breaker, 600, true, true, true);
    expect(breaker.state(600)).toBe('closed');
  });

  test('opens for another round when the probe fails', () => {
    const breaker = opened();
    breaker.finished(true, breaker.started(500), 600);
    expect([breaker.state(600), breaker.waitMs(600)]).toEqual(['open', 1_000]);
    expect(breaker.permits(1_600)).toBe(1);
  });

  test('a probe that did not ask the receiver makes place for another', () => {
    const breaker = opened();
    breaker.finished(null, breaker.started(500), 510);
    expect([breaker.state(510), breaker.permits(510)]).toEqual(['half-open', 1]);
  });

  test('an old attempt that ends while it is half-open is not the probe', () => {
    const breaker = new CircuitBreaker(policy);
    const [late, later] = [breaker.started(0), breaker.started(0)];
    attempts(breaker, 0, true, true, true, true);
    const probe = breaker.started(500);
    breaker.finished(false, late, 510);
    expect([breaker.state(510), breaker.permits(510)]).toEqual(['half-open', 0]);
    breaker.finished(true, later, 510);
    expect(breaker.state(510)).toBe('half-open');
    breaker.finished(false, probe, 520);
    expect(breaker.state(520)).toBe('closed');
  });
});

describe('token bucket', () => {
  test('lets the rate through, and never more than a tenth of a second ahead', () => {
    const bucket = new TokenBucket({ count: 100, perMs: 1_000 }, 0);
    let taken = 0;
    for (let now = 0; now <= 10_000; now++) {
      for (; bucket.available(now) > 0; taken++) bucket.take(now);
    }
    expect(taken).toBeGreaterThanOrEqual(1_000);
    expect(taken).toBeLessThanOrEqual(1_010);
    expect(bucket.available(60_000)).toBe(10);
  });

  test('says how long to wait for the next, down to one a day', () => {
    const bucket = new TokenBucket({ count: 1, perMs: 86_400_000 }, 0);
    expect([bucket.available(0), bucket.waitMs(0)]).toEqual([1, 0]);
    bucket.take(0);
    expect([bucket.available(1), bucket.waitMs(1)]).toEqual([0, 86_399_999]);
    expect(bucket.available(86_400_001)).toBe(1);
  });

  test('waiting as long as it says is enough', () => {
    for (const count of [3, 7, 99, 1_001, 7_777]) {
      const bucket = new TokenBucket({ count, perMs: 1_000 }, 0);
      let now = 0;
      for (let n = 0; n < 500; n++) {
        now += bucket.waitMs(now);
        // A rounding error may cost one more look.
        now += bucket.waitMs(now);
        expect(bucket.available(now)).toBeGreaterThan(0);
        bucket.take(now);
      }
    }
  });
});

describe('lane', () => {
  let next = 0;
  const claim = (tenant: string | null = null): ClaimedDelivery => ({
    delivery: { id: String(++next), lease: '1', attempts: 0, tenant } as Delivery,
    event: null,
    bytes: 1,
  });
  const client = {
    render: () => ({}),
    send: () => new Promise<never>(() => {}),
    describe: () => ({}),
    close: async () => {},
  };
  const laneOf = (overrides: Partial<WebhookDestination>) =>
    new DestinationLane(webhookDestination('http://127.0.0.1:9/', overrides), client, new TenantRates(), 0);
  const fill = (lane: DestinationLane, now: number): Turn[] => {
    for (let n = lane.wanted(now); n > 0; n--) lane.add(claim(), now);
    const turns: Turn[] = [];
    for (let turn = lane.next(now); turn !== null; turn = lane.next(now)) turns.push(turn);
    return turns;
  };

  test('never more in flight than its concurrency, in the order of the claims', () => {
    const lane = laneOf({ concurrency: 3 });
    const claims = [claim(), claim(), claim(), claim()];
    for (const one of claims) lane.add(one, 0);
    const turns = fill(lane, 0);
    expect(turns.map((turn) => turn.claimed)).toEqual(claims.slice(0, 3));
    expect([lane.inFlight, lane.waiting, lane.next(0)]).toEqual([3, 1, null]);
    lane.finished(turns[0] as Turn, false, 1);
    expect(lane.next(1)?.claimed).toBe(claims[3]);
  });

  test('claims nothing ahead for a slow destination, and half a thousand for a fast one', () => {
    const slow = laneOf({ concurrency: 20 });
    for (const turn of fill(slow, 0)) slow.finished(turn, false, 5_000);
    fill(slow, 5_000);
    expect([slow.inFlight, slow.waiting, slow.wanted(5_000)]).toEqual([20, 0, 0]);
    const fast = laneOf({ concurrency: 100 });
    for (const turn of fill(fast, 0)) fast.finished(turn, false, 2);
    expect(fast.wanted(2)).toBe(600);
  });

  test('asks again when half of what was claimed ahead is used up, and always when nothing waits', () => {
    const lane = laneOf({ concurrency: 10 });
    for (const turn of fill(lane, 0)) lane.finished(turn, false, 25);
    const turns = fill(lane, 25);
    expect([lane.inFlight, lane.waiting]).toEqual([10, 20]);
    const asked: number[] = [];
    for (let n = 0; n < 20; n++) {
      const ended = turns[n] as Turn;
      const now = ended.startedAt + 25;
      lane.finished(ended, false, now);
      const turn = lane.next(now);
      if (turn !== null) turns.push(turn);
      asked.push(lane.wanted(now));
    }
    expect(asked.slice(0, 9)).toEqual(Array(9).fill(0));
    expect(asked.slice(9)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
  });

  test('wants no more than its rate permits, whatever has room', () => {
    const lane = laneOf({ concurrency: 50, rateLimit: { count: 100, perMs: 1_000 } });
    expect(fill(lane, 0)).toHaveLength(10);
    expect([lane.wanted(0), lane.waitMs(0)]).toEqual([0, 10]);
    expect(lane.wanted(25)).toBe(2);
  });

  test('wants one probe when half-open, and another one when that was none', () => {
    const lane = laneOf({ concurrency: 10, circuitBreaker: policy });
    for (const turn of fill(lane, 0).slice(0, 4)) lane.finished(turn, true, 1);
    expect([lane.breakerState(1), lane.wanted(1), lane.waitMs(1)]).toEqual(['open', 0, 500]);
    expect([lane.wanted(501), lane.breakerState(501)]).toEqual([1, 'half-open']);
    const [probe] = fill(lane, 501);
    expect(lane.wanted(501)).toBe(0);
    lane.finished(probe as Turn, null, 502);
    expect(lane.wanted(502)).toBe(1);
    const [second] = fill(lane, 502);
    lane.finished(second as Turn, false, 503);
    expect([lane.breakerState(503), lane.wanted(503) > 1]).toEqual(['closed', true]);
  });

  test('keeps what is in flight, and an unchanged breaker, through new rules', () => {
    const lane = laneOf({ concurrency: 4, circuitBreaker: policy });
    const turns = fill(lane, 0);
    const other = { ...client };
    const changed = webhookDestination('http://127.0.0.1:9/', { concurrency: 5, circuitBreaker: { ...policy } });
    lane.load(changed, 1);
    expect(lane.reconnect(other)).toBe(client);
    expect(lane.client).toBe(other);
    expect([lane.inFlight, lane.wanted(1)]).toEqual([4, 1]);
    for (const turn of turns) lane.finished(turn, true, 2);
    expect(lane.breakerState(2)).toBe('open');
    lane.load(webhookDestination('http://127.0.0.1:9/'), 3);
    expect(lane.breakerState(3)).toBe('closed');
  });
});

describe('breaker, in any course of events', () => {
  const outcome = fc.record({ afterMs: fc.integer({ min: 0, max: 700 }), failed: fc.constantFrom(true, false, null) });
  const policies = fc.record({
    failureRate: fc.constantFrom(0.1, 0.5, 1),
    minimum: fc.integer({ min: 1, max: 5 }),
    windowMs: fc.constantFrom(1_000, 5_000),
    openForMs: fc.constantFrom(100, 500),
    openForMaxMs: fc.constantFrom(500, 1_700),
    successes: fc.integer({ min: 1, max: 3 }),
    per: fc.constant('destination' as const),
  });

  test('closed it limits nothing, open it lets nothing through, half-open one at a time; and it never stays open for longer than it may', () => {
    fc.assert(
      fc.property(policies, fc.array(outcome, { maxLength: 60 }), (policy, outcomes) => {
        const breaker = new CircuitBreaker(policy);
        let now = 0;
        let inARow = 0;
        for (const { afterMs, failed } of outcomes) {
          now += afterMs;
          const state = breaker.state(now);
          if (state === 'open') {
            expect(breaker.permits(now)).toBe(0);
            expect(breaker.waitMs(now)).toBeGreaterThan(0);
            expect(breaker.waitMs(now)).toBeLessThanOrEqual(policy.openForMaxMs);
            expect(breaker.permits(now + breaker.waitMs(now))).toBe(1);
            inARow = 0;
            now += policy.openForMaxMs;
            continue;
          }
          expect(breaker.permits(now)).toBe(state === 'closed' ? Number.POSITIVE_INFINITY : 1);
          const phase = breaker.started(now);
          if (state === 'half-open') expect(breaker.permits(now)).toBe(0);
          breaker.finished(failed, phase, now);
          if (state !== 'half-open' || failed === null) continue;
          inARow = failed ? 0 : inARow + 1;
          expect(breaker.state(now)).toBe(failed ? 'open' : inARow < policy.successes ? 'half-open' : 'closed');
          if (inARow >= policy.successes) inARow = 0;
        }
      }),
    );
  });

  test('stays open twice as long after each probe that fails, up to its bound, and as at first when it has been closed', () => {
    const breaker = new CircuitBreaker({ ...policy, openForMaxMs: 1_500, successes: 2 });
    const openFor: number[] = [];
    let now = 0;
    const open = () => {
      for (let n = 0; n < 4; n++) breaker.finished(true, breaker.started(now), now);
    };
    open();
    for (let n = 0; n < 4; n++) {
      openFor.push(breaker.waitMs(now));
      now += breaker.waitMs(now);
      breaker.finished(true, breaker.started(now), now);
    }
    expect(openFor).toEqual([500, 1_000, 1_500, 1_500]);
    now += breaker.waitMs(now);
    for (const state of ['half-open', 'closed']) {
      breaker.finished(false, breaker.started(now), now);
      expect(breaker.state(now)).toBe(state);
    }
    open();
    expect(breaker.waitMs(now)).toBe(500);
  });
});

test('a bucket never lets through more than its rate and a tenth of a second, or one, whoever asks when', () => {
  const asked = fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 200 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2_000 }), asked, (count, gaps) => {
      const bucket = new TokenBucket({ count, perMs: 1_000 }, 0);
      let [now, taken] = [0, 0];
      for (const gap of gaps) {
        now += gap;
        for (; bucket.available(now) > 0; taken++) bucket.take(now);
      }
      expect(taken).toBeLessThanOrEqual((count * now) / 1_000 + Math.max(2, count / 10));
    }),
  );
});

describe('tenants of a lane', () => {
  let next = 0;
  const client = {
    render: () => ({}),
    send: () => new Promise<never>(() => {}),
    describe: () => ({}),
    close: async () => {},
  };
  const claim = (tenant: string | null): ClaimedDelivery => ({
    delivery: { id: String(++next), lease: '1', attempts: 0, tenant } as Delivery,
    event: null,
    bytes: 1,
  });
  const laneOf = (overrides: Partial<WebhookDestination>, quotas: Partial<TenantQuotas> = {}) => {
    const rates = new TenantRates();
    rates.load({ common: { maxPending: null, maxRate: null }, named: new Map(), ...quotas });
    return new DestinationLane(webhookDestination('http://127.0.0.1:9/', overrides), client, rates, 0);
  };
  const begin = (lane: DestinationLane, now: number): Turn[] => {
    const turns: Turn[] = [];
    for (let turn = lane.next(now); turn !== null; turn = lane.next(now)) turns.push(turn);
    return turns;
  };
  const tenantsOf = (turns: readonly Turn[]) => turns.map((turn) => turn.claimed.delivery.tenant);
  const add = (lane: DestinationLane, tenant: string | null, count: number) => {
    for (let n = 0; n < count; n++) lane.add(claim(tenant), 0);
  };

  test('take turns', () => {
    const lane = laneOf({ concurrency: 7 });
    add(lane, 'a', 5);
    add(lane, 'b', 2);
    add(lane, null, 5);
    expect(tenantsOf(begin(lane, 0))).toEqual(['a', 'b', null, 'a', 'b', null, 'a']);
  });

  test('are asked for by turns as long as there are some, and for a minute after', () => {
    const lane = laneOf({ concurrency: 7 });
    expect(lane.wish(0)?.turns).toBeNull();
    add(lane, 'a', 1);
    expect(lane.wish(1)?.turns).toEqual({ after: null, most: 6, rooms: new Map() });
    const wish = lane.wish(2);
    if (wish === null) throw new Error('no wish');
    lane.looked(1, wish, 6, { any: true, last: 'c', more: false, heldBack: ['b'] }, 2);
    expect(lane.wish(60_001)?.turns?.after).toBe('c');
    expect(lane.wish(60_002)?.turns).toBeNull();
    expect([lane.takesNew('a', 1, 3), lane.takesNew('b', 1, 3), lane.takesNew('a', 2, 3)]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('have no more in flight than tenant_concurrency, and hold up nobody else', () => {
    const lane = laneOf({ concurrency: 10, tenantConcurrency: 2 });
    add(lane, 'a', 4);
    add(lane, 'b', 1);
    add(lane, null, 3);
    const turns = begin(lane, 0);
    expect(tenantsOf(turns)).toEqual(['a', 'b', null, 'a', null, null]);
    expect(lane.wish(0)?.turns).toMatchObject({
      most: 2,
      rooms: new Map([
        ['a', 0],
        ['b', 1],
      ]),
    });
    lane.finished(turns[0] as Turn, null, 1);
    expect(tenantsOf(begin(lane, 1))).toEqual(['a']);
  });

  test('have a rate each, and one over all destinations', () => {
    const lane = laneOf({ tenantRateLimit: { count: 100, perMs: 1_000 }, concurrency: 50 });
    add(lane, 'a', 20);
    add(lane, 'b', 3);
    expect(tenantsOf(begin(lane, 0)).sort()).toEqual([...Array(10).fill('a'), ...Array(3).fill('b')]);
    expect(begin(lane, 50)).toHaveLength(5);
    const quotas: TenantQuotas = {
      common: { maxPending: null, maxRate: { count: 20, perMs: 1_000 } },
      named: new Map([['vip', { maxPending: null, maxRate: { count: 100, perMs: 1_000 } }]]),
    };
    const bounded = laneOf({ concurrency: 50 }, quotas);
    add(bounded, 'a', 20);
    add(bounded, 'vip', 20);
    add(bounded, null, 20);
    const count = (tenant: string | null, turns: readonly Turn[]) =>
      tenantsOf(turns).filter((one) => one === tenant).length;
    const turns = begin(bounded, 0);
    expect([count('a', turns), count('vip', turns), count(null, turns)]).toEqual([2, 10, 20]);
  });

  test('with a breaker each: one opens, gives its claims back and is passed over; the others go on', () => {
    const lane = laneOf({ concurrency: 20, circuitBreaker: { ...policy, per: 'tenant' } });
    add(lane, 'bad', 4);
    for (const turn of begin(lane, 0)) lane.finished(turn, true, 1);
    add(lane, 'bad', 3);
    add(lane, 'good', 3);
    expect(lane.surplus(1).map(({ delivery }) => delivery.tenant)).toEqual(['bad', 'bad', 'bad']);
    expect(tenantsOf(begin(lane, 1))).toEqual(['good', 'good', 'good']);
    expect(lane.wish(1)?.turns?.rooms.get('bad')).toBe(0);
    expect(lane.wish(501)?.turns?.rooms.get('bad')).toBe(1);
    add(lane, 'bad', 2);
    expect(tenantsOf(begin(lane, 501))).toEqual(['bad']);
    expect([lane.surplus(501).length, lane.waiting, lane.wish(501)?.turns?.rooms.get('bad')]).toEqual([1, 0, 0]);
  });

  test('that share a rate at two destinations: whoever finds no token waits for the next one, and not for a look', () => {
    const rates = new TenantRates();
    const maxRate = { count: 10, perMs: 1_000 };
    rates.load({
      common: { maxPending: null, maxRate: null },
      named: new Map([['slow', { maxPending: null, maxRate }]]),
    });
    const lane = () =>
      new DestinationLane(webhookDestination('http://127.0.0.1:9/', { concurrency: 1 }), client, rates, 0);
    const [one, two] = [lane(), lane()];
    add(one, 'slow', 1);
    add(two, 'slow', 1);
    expect([one.lineWaitMs(0), two.lineWaitMs(0)]).toEqual([0, 0]);
    expect([tenantsOf(begin(one, 0)), tenantsOf(begin(two, 0))]).toEqual([['slow'], []]);
    expect([one.lineWaitMs(0), two.lineWaitMs(0), two.tenantsWaitMs(0)]).toEqual([Number.POSITIVE_INFINITY, 100, 100]);
    // Its place is taken by another tenant: whoever leaves it looks again.
    add(two, 'other', 1);
    const [other] = begin(two, 50);
    expect([two.lineWaitMs(50), two.lineWaitMs(100)]).toEqual([50, Number.POSITIVE_INFINITY]);
    two.finished(other as Turn, false, 100);
    expect([two.lineWaitMs(100), tenantsOf(begin(two, 100))]).toEqual([0, ['slow']]);
  });

  test('of which nothing is known any more are forgotten, whatever their number', () => {
    const lane = laneOf({ concurrency: 5_000, tenantConcurrency: 1, tenantRateLimit: { count: 10, perMs: 1_000 } });
    for (let n = 0; n < 3_000; n++) lane.add(claim(`t${n}`), 0);
    for (const turn of begin(lane, 0)) lane.finished(turn, false, 1);
    expect([...lane.tenants]).toHaveLength(3_000);
    lane.tenants.forget(20_000);
    expect([...lane.tenants]).toHaveLength(0);
  });

  test('a lane that is held claims and begins nothing, gives back what waits, and goes on by itself', () => {
    const lane = laneOf({ concurrency: 5 });
    add(lane, null, 3);
    lane.hold(1_000);
    expect([begin(lane, 1), lane.wish(1), lane.waitMs(1), lane.surplus(1).length]).toEqual([[], null, 999, 3]);
    expect(lane.wish(1_000)?.slots).toBe(5);
    lane.hold(Number.POSITIVE_INFINITY);
    expect([lane.wish(9_999), lane.waitMs(9_999)]).toEqual([null, Number.POSITIVE_INFINITY]);
    lane.hold(0);
    expect(lane.wish(9_999)?.slots).toBe(5);
  });
});
