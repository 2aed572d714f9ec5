import { expect, test } from 'vitest';
import type { HttpReply } from '../../src/receivers/http-listener.ts';
import { count, eventually, migrated, receiver, rules, run } from './fixture.ts';

/** Reproducible: mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const seed = Number(process.env.SOAK_SEED ?? Date.now() % 1_000_000);

/**
 * Whatever receivers and reloads do, the queue drains, and nothing of it waits for the poll: that comes when the whole test
 * is over, however busy the machine. (Single places and open breakers take their time: ten attempts in a second.)
 */
test(`everything drains (seed ${seed})`, async () => {
  const random = randomOf(seed);
  const database = await migrated('soak');
  const behave = (): HttpReply => {
    const dice = random();
    if (dice < 0.6) return { status: 204, delayMs: random() * 20 };
    if (dice < 0.75) return { status: 503, delayMs: random() * 10 };
    if (dice < 0.8) return { status: 429, headers: { 'retry-after': '0.05' } };
    if (dice < 0.85) return { misbehave: 'hang-before-headers' };
    if (dice < 0.9) return { misbehave: 'reset' };
    if (dice < 0.93) return { status: 400 };
    return { status: 200, body: 'x'.repeat(random() * 10_000) };
  };
  const receivers = await Promise.all([1, 2, 3, 4].map(() => receiver({ respond: behave })));
  const urls = receivers.map(({ url }) => url);
  const config = () => {
    const pick = <T>(...from: T[]): T => from[Math.floor(random() * from.length)] as T;
    const hook = (url: string | undefined) => ({
      webhook: { url: url ?? '' },
      timeout: pick('100ms', '200ms'),
      concurrency: pick(1, 3, 20),
      retry: { attempts: 4, initial: '5ms', max: '50ms' },
      ...(random() < 0.5 && { rate_limit: pick('100/s', '500/s') }),
      ...(random() < 0.5 && {
        circuit_breaker: { failure_rate: 0.5, minimum: 3, window: '1s', open_for: '100ms' },
      }),
    });
    const observer = (destination: string, ordered: boolean) => ({
      source: 'orders',
      ...(ordered && { order_by: 'key' }),
      actions: [{ webhook: destination, name: 'send' }],
    });
    return rules(database.url, {
      destinations: { a: hook(urls[0]), b: hook(urls[1]), c: hook(urls[2]), d: hook(urls[3]) },
      observers: {
        'to-a': observer('a', false),
        'to-b': observer('b', true),
        'to-c': observer('c', random() < 0.5),
        // Comes and goes: what is queued of it is dead-lettered by the newest rules.
        ...(random() < 0.7 && { 'to-d': observer('d', true) }),
      },
      settings: { poll_interval: '10m' },
    });
  };
  const first = await run(config());
  const second = await run(config());
  for (let n = 0; n < 12; n++) {
    await database.query(
      `select observers.emit('orders', jsonb_build_object('n', n), (n % 7)::text) from generate_series(1, 25) n`,
    );
    const { engine } = random() < 0.5 ? first : second;
    if (random() < 0.7) await engine.reload(config());
  }
  // The same rules at last, or each would leave to the other what it does not know.
  const last = config();
  await second.engine.reload(last);
  await first.engine.reload(last);
  await eventually(
    'an empty queue',
    async () =>
      (await count(database, 'deliveries')) === 0 && (await first.engine.status()).checkpoint.lag_events === 0,
    90_000,
  );
  expect(await count(database, 'lanes')).toBe(0);
  const { rows } = await database.query(
    `select count(*)::int as n from (
       select observer, event_uid from observers.attempts where outcome = 'delivered'
       union select observer, event_uid from observers.dead_letters
     ) as ended where observer <> 'to-d'`,
  );
  // 300 events for each of the three observers that were always there.
  expect(rows).toEqual([{ n: 900 }]);
  const twice = await database.query(
    `select 1 from observers.attempts where outcome <> 'retry' group by event_uid, observer having count(*) > 1`,
  );
  expect(twice.rows).toEqual([]);
  const failures = [...first.told, ...second.told].filter(({ type }) => type === 'stage.failed');
  expect(failures).toEqual([]);
}, 120_000);
