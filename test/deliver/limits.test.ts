import { describe, expect, test } from 'vitest';
import type { Delivery } from '../../src/domain/delivery.ts';
import type { WebhookDestination } from '../../src/domain/rules.ts';
import { CircuitBreaker } from '../../src/pipeline/deliver/circuit-breaker.ts';
import { DestinationLane, type Turn } from '../../src/pipeline/deliver/destination-lane.ts';
import { TokenBucket } from '../../src/pipeline/deliver/token-bucket.ts';
import type { ClaimedDelivery } from '../../src/transport/contract.ts';
import { webhookDestination } from '../actions/fixtures.ts';

const policy = { failureRate: 0.5, minimum: 4, windowMs: 1_000, openForMs: 500 };

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
    expect([breaker.state(600), breaker.waitMs(600)]).toEqual(['open', 500]);
    expect(breaker.permits(1_100)).toBe(1);
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
  const claim = (): ClaimedDelivery => ({
    delivery: { id: String(++next), lease: '1', attempts: 0 } as Delivery,
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
    new DestinationLane(webhookDestination('http://127.0.0.1:9/', overrides), client, 0);
  const fill = (lane: DestinationLane, now: number): Turn[] => {
    for (let n = lane.wanted(now); n > 0; n--) lane.add(claim());
    const turns: Turn[] = [];
    for (let turn = lane.next(now); turn !== null; turn = lane.next(now)) turns.push(turn);
    return turns;
  };

  test('never more in flight than its concurrency, in the order of the claims', () => {
    const lane = laneOf({ concurrency: 3 });
    const claims = [claim(), claim(), claim(), claim()];
    for (const one of claims) lane.add(one);
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
    expect([lane.breakerChange(1), lane.breakerChange(1), lane.wanted(1), lane.waitMs(1)]).toEqual([
      'open',
      null,
      0,
      500,
    ]);
    expect([lane.wanted(501), lane.breakerChange(501)]).toEqual([1, 'half-open']);
    const [probe] = fill(lane, 501);
    expect(lane.wanted(501)).toBe(0);
    lane.finished(probe as Turn, null, 502);
    expect(lane.wanted(502)).toBe(1);
    const [second] = fill(lane, 502);
    lane.finished(second as Turn, false, 503);
    expect([lane.breakerChange(503), lane.wanted(503) > 1]).toEqual(['closed', true]);
  });

  test('keeps what is in flight, and an unchanged breaker, through new rules', () => {
    const lane = laneOf({ concurrency: 4, circuitBreaker: policy });
    const turns = fill(lane, 0);
    const other = { ...client };
    const changed = webhookDestination('http://127.0.0.1:9/', { concurrency: 5, circuitBreaker: { ...policy } });
    expect(lane.change(changed, other, 1)).toBe(client);
    expect(lane.client).toBe(other);
    expect([lane.inFlight, lane.wanted(1)]).toEqual([4, 1]);
    for (const turn of turns) lane.finished(turn, true, 2);
    expect(lane.breakerState(2)).toBe('open');
    lane.change(webhookDestination('http://127.0.0.1:9/'), client, 3);
    expect(lane.breakerState(3)).toBe('closed');
  });
});
