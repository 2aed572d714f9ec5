import { describe, expect, test } from 'vitest';
import type { HttpReply } from '../../src/receivers/http-listener.ts';
import { count, drained, emit, emitMany, eventually, migrated, numberOf, receiver, rules, run } from './fixture.ts';

/** Answers when told to, and knows how many requests were open at once. */
function gate() {
  const waiting: (() => void)[] = [];
  let open = 0;
  let most = 0;
  return {
    get open() {
      return open;
    },
    get most() {
      return most;
    },
    respond: (): Promise<HttpReply> => {
      open += 1;
      most = Math.max(most, open);
      return new Promise((resolve) =>
        waiting.push(() => {
          open -= 1;
          resolve({ status: 204 });
        }),
      );
    },
    release: (n = waiting.length) => {
      for (const answer of waiting.splice(0, n)) answer();
    },
  };
}

describe('concurrency', () => {
  test('is reached and never exceeded, also by two engines and through a reload', async () => {
    const database = await migrated('concurrency');
    const door = gate();
    const { url, received } = await receiver({ respond: door.respond });
    const free = await receiver();
    const config = (timeout: string) =>
      rules(database.url, {
        destinations: { hook: { webhook: { url }, concurrency: 5, timeout } },
        observers: {
          all: { source: 'orders', when: 'payload.n <= 60', actions: [{ webhook: 'hook' }] },
          other: { source: 'orders', when: 'payload.n > 60', actions: [{ webhook: free.url }] },
        },
      });
    const { engine } = await run(config('20s'));
    await emitMany(database, 1, 60);
    await eventually('five open requests', () => door.open === 5);
    await engine.reload(config('21s'));
    // Claimed together with whatever the reloaded lane would take.
    await emitMany(database, 61, 61);
    await free.received.waitFor(1);
    expect(door.open).toBe(5);
    for (let n = 0; n < 6; n++) {
      door.release(5);
      await eventually('the next five', () => door.open === 5);
    }
    expect(door.most).toBe(5);
    const second = await run(config('21s'));
    second.engine.subscribe(() => {});
    await eventually('the second one claims its own five', () => door.open === 10);
    const releasing = setInterval(() => door.release(), 5);
    await drained(database, 61);
    clearInterval(releasing);
    expect(door.most).toBe(10);
    expect(received.entries.map(numberOf).sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
  });

  test('what one instance has no room for, another one begins long before it would look', async () => {
    const database = await migrated('rung');
    const door = gate();
    const { url } = await receiver({ respond: door.respond });
    const config = rules(database.url, {
      settings: { poll_interval: '10m', instance_timeout: '2s' },
      destinations: { hook: { webhook: { url }, concurrency: 5, timeout: '60s' } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    });
    await run(config);
    await run(config);
    let n = 20;
    await emitMany(database, 1, n);
    // The one that routes learns of the other by its next heartbeat.
    await eventually('both to be full', async () => {
      n += 1;
      await emitMany(database, n, n);
      return door.open === 10;
    });
    const releasing = setInterval(() => door.release(), 5);
    await drained(database, n);
    clearInterval(releasing);
  });

  test('three actions of an event, and those of several events, go out at the same time', async () => {
    const database = await migrated('three');
    const door = gate();
    const [one, two, three] = [
      await receiver({ respond: door.respond }),
      await receiver({ respond: door.respond }),
      await receiver({ respond: door.respond }),
    ];
    await run(
      rules(database.url, {
        observers: {
          all: { source: 'orders', actions: [{ webhook: one.url }, { webhook: two.url }, { webhook: three.url }] },
        },
      }),
    );
    await emitMany(database, 1, 3);
    await eventually('all nine at once', () => door.open === 9);
    door.release();
    await drained(database, 9);
  });

  test('a destination that hangs slows no other', async () => {
    const database = await migrated('hang');
    const stuck = await receiver({ respond: () => ({ misbehave: 'hang-before-headers' }) });
    const fine = await receiver();
    await run(
      rules(database.url, {
        destinations: { stuck: { webhook: { url: stuck.url }, concurrency: 2 } },
        observers: { all: { source: 'orders', actions: [{ webhook: 'stuck' }, { webhook: fine.url }] } },
      }),
    );
    await emitMany(database, 1, 200);
    await fine.received.waitFor(200);
    expect(stuck.received.total).toBe(2);
  });
});

describe('retries', () => {
  test('one deadline per attempt; a delay in the table; a success on the last permitted attempt', async () => {
    const database = await migrated('retries');
    const { url, received } = await receiver({
      respond: ({ number }) => {
        if (number === 1) return { misbehave: 'drip' };
        if (number === 2) return { status: 503, headers: { 'retry-after': '0.7' } };
        return { status: 204 };
      },
    });
    const other = await receiver();
    const { attempts } = await run(
      rules(database.url, {
        destinations: {
          hook: {
            webhook: { url },
            timeout: '150ms',
            retry: { attempts: 3, initial: '50ms', factor: 2, max: '1s', jitter: 'none' },
          },
        },
        observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }, { webhook: other.url }] } },
      }),
    );
    await emit(database, { n: 1 });
    await drained(database, 2);
    expect(other.received.total).toBe(1);
    expect(received.total).toBe(3);
    expect(new Set(received.entries.map(({ messageId }) => messageId)).size).toBe(1);
    const { rows } = await database.query(
      `select attempt, outcome, status, error_class from observers.attempts where destination = 'hook' order by attempt`,
    );
    expect(rows).toEqual([
      { attempt: 1, outcome: 'retry', status: 200, error_class: 'timeout' },
      { attempt: 2, outcome: 'retry', status: 503, error_class: 'http_503' },
      { attempt: 3, outcome: 'delivered', status: 204, error_class: null },
    ]);
    const delays = attempts().filter(({ destination }) => destination === 'hook');
    // 50 ms, then 100 ms that Retry-After made longer.
    expect(delays.map(({ retryInMs }) => retryInMs)).toEqual([50, 700, null]);
    const [, second, third] = received.entries;
    expect((third?.receivedAt ?? 0) - (second?.receivedAt ?? 0)).toBeGreaterThanOrEqual(690);
    expect(await count(database, 'dead_letters')).toBe(0);
  });

  test('after the last attempt, and when refused: a dead letter that says everything', async () => {
    const database = await migrated('dead');
    const { url } = await receiver({
      respond: ({ path, body }) => ({ status: path === '/bad' ? 422 : 500, body: `you sent ${body}` }),
    });
    const key = 'very-secret-key-4711';
    const config = rules(
      database.url,
      {
        destinations: {
          failing: {
            webhook: { url: `${url}/fail?token=querysecret`, headers: { authorization: 'Bearer ${TOKEN}' } },
            retry: { attempts: 2, initial: '10ms' },
          },
          refusing: { webhook: { url: `${url}/bad`, secret: '${SIGNING}' } },
        },
        observers: {
          all: {
            source: 'orders',
            actions: [
              { webhook: 'failing', name: 'bill', body: { api_key: '${KEY}', order: '${{ payload.n }}' } },
              { webhook: 'refusing', name: 'refuse' },
            ],
          },
        },
      },
      { KEY: key, TOKEN: 'token-of-the-header', SIGNING: `whsec_${Buffer.alloc(32, 7).toString('base64')}` },
    );
    const { told } = await run(config);
    const uid = await emit(database, { n: 9007199254740993n.toString() }, 'k1');
    await eventually('two dead letters', async () => (await count(database, 'dead_letters')) === 2);
    const { rows } = await database.query(
      `select event ->> 'uid' as uid, event ->> 'key' as key, observer, action, destination, tenant, reason, error_class,
              error_message, http_status, response_excerpt, request, attempts, first_attempt_at <= died_at as in_order,
              length(rule_version) as version, replays, last_replayed_at
       from observers.dead_letters order by action`,
    );
    const common = {
      uid,
      key: 'k1',
      observer: 'all',
      tenant: null,
      in_order: true,
      version: 12,
      replays: 0,
      last_replayed_at: null,
    };
    const [host] = url.split('/').slice(2);
    expect(rows).toEqual([
      {
        ...common,
        action: 'bill',
        destination: 'failing',
        reason: 'exhausted',
        error_class: 'http_500',
        error_message: `${host} answered 500 Internal Server Error`,
        http_status: 500,
        response_excerpt: 'you sent {"api_key":"[redacted]","order":"9007199254740993"}',
        attempts: 2,
        request: {
          method: 'POST',
          url: `${url}/fail?token=[redacted]`,
          headers: { 'webhook-id': expect.stringMatching(/^msg_/), authorization: '[redacted]' },
          body: { api_key: '[redacted]', order: '9007199254740993' },
        },
      },
      expect.objectContaining({ ...common, action: 'refuse', reason: 'rejected', http_status: 422, attempts: 1 }),
    ]);
    const everything = JSON.stringify([
      (await database.query('select to_jsonb(a) from observers.attempts a')).rows,
      (await database.query('select to_jsonb(d) from observers.dead_letters d')).rows,
      told,
    ]);
    expect(config.secrets.length).toBeGreaterThanOrEqual(4);
    for (const secret of config.secrets) expect(everything).not.toContain(secret);
    expect(everything).not.toContain('querysecret');
  });

  test('what can not be rendered is an engine fault with its place; the other actions go on', async () => {
    const database = await migrated('fault');
    const { url, received } = await receiver();
    const { attempts } = await run(
      rules(database.url, {
        observers: {
          all: {
            source: 'orders',
            actions: [{ webhook: `${url}/a`, body: { x: '${{ payload.n - "text" }}' } }, { webhook: `${url}/b` }],
          },
        },
      }),
    );
    await emit(database, { n: 1 });
    await drained(database, 2);
    expect(received.entries.map(({ path }) => path)).toEqual(['/b']);
    const { rows } = await database.query(
      'select action, reason, error_class, error_message from observers.dead_letters',
    );
    expect(rows).toEqual([
      {
        action: 'webhook-1',
        reason: 'engine_fault',
        error_class: 'template',
        error_message: expect.stringMatching(
          /^config:\d+:\d+ {2}no such overload: dyn<double> - string at character \d+ of payload\.n - "text"$/,
        ),
      },
    ]);
    expect(attempts().filter(({ outcome }) => outcome === 'dead')).toHaveLength(1);
  });
});
