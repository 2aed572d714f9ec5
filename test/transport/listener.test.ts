import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createListener, type Listener, type ListenerOptions } from '../../src/transport/postgres/listener.ts';
import { createDatabase } from '../support/database.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

const database = await createDatabase('listener');
const applicationName = 'listener under test';

interface Heard {
  readonly channel: string;
  readonly payload: string;
}

class Fixture {
  readonly heard: Heard[] = [];
  readonly disconnections: Error[] = [];
  connections = 0;
  readonly listener: Listener;

  constructor(url: string, channels: readonly string[], more: Partial<ListenerOptions> = {}) {
    this.listener = createListener({
      connection: { connectionString: url, application_name: applicationName },
      channels,
      onNotification: (channel, payload) => void this.heard.push({ channel, payload }),
      onConnected: () => void this.connections++,
      onDisconnected: (error) => void this.disconnections.push(error),
      ...more,
    });
    fixtures.push(this);
  }

  /** Notifies until it is heard: what was sent into an outage is rightly lost. */
  async expectToHear(channel: string, payload: string): Promise<void> {
    const arrived = () => this.heard.some((one) => one.channel === channel && one.payload === payload);
    await expect
      .poll(async () => arrived() || notify(channel, payload).then(arrived), { timeout: 15_000, interval: 20 })
      .toBe(true);
  }
}

const fixtures: Fixture[] = [];
afterEach(async () => {
  await Promise.all(fixtures.splice(0).map(({ listener }) => listener.stop()));
  await expect.poll(backends).toEqual([]);
});

async function notify(channel: string, payload: string): Promise<void> {
  await database.query('select pg_notify($1, $2)', [channel, payload]);
}

async function backends(): Promise<number[]> {
  const { rows } = await database.query<{ pid: number }>(
    'select pid from pg_stat_activity where application_name = $1 and datname = current_database()',
    [applicationName],
  );
  return rows.map(({ pid }) => pid);
}

describe('notifications', () => {
  test('arrive as they were sent, whatever is in them', async () => {
    const fixture = new Fixture(database.url, ['plain']);
    await fixture.listener.start();
    const payloads = [
      '',
      'text',
      '{"a":1}',
      '{"not json',
      'null',
      '0',
      'ä€😀\n"\\\'',
      'x'.repeat(7_999),
      '€'.repeat(2_666),
    ];
    for (const payload of payloads) await notify('plain', payload);
    await database.query('notify plain');
    await expect.poll(() => fixture.heard.length).toBe(payloads.length + 1);
    expect(fixture.heard).toEqual([...payloads, ''].map((payload) => ({ channel: 'plain', payload })));
  });

  test('arrive on channels with any name', async () => {
    const channels = [
      'My-Chan',
      'ünïcode',
      'with "quotes"',
      "it's",
      'select',
      'a b',
      '1st',
      'x'.repeat(63),
      '$1; drop',
    ];
    const fixture = new Fixture(database.url, channels);
    await fixture.listener.start();
    for (const channel of channels) await notify(channel, channel);
    await notify('my-chan', 'of somebody else');
    await notify('select', 'last');
    await expect.poll(() => fixture.heard.at(-1)?.payload).toBe('last');
    expect(fixture.heard.slice(0, -1)).toEqual(channels.map((channel) => ({ channel, payload: channel })));
  });

  test('follow setChannels', async () => {
    const fixture = new Fixture(database.url, ['a', 'b']);
    await fixture.listener.start();
    await Promise.all([fixture.listener.setChannels(['x']), fixture.listener.setChannels(['b', 'c'])]);
    for (const channel of ['a', 'b', 'x', 'c']) await notify(channel, '');
    await expect.poll(() => fixture.heard.map(({ channel }) => channel)).toEqual(['b', 'c']);
  });
});

describe('a lost connection', () => {
  test('terminated sixty times, comes back every time and leaks nothing', async () => {
    const fixture = new Fixture(database.url, ['wake']);
    await fixture.listener.start();
    for (let round = 1; round <= 60; round++) {
      const [pid] = await backends();
      await database.query('select pg_terminate_backend($1)', [pid]);
      await expect.poll(() => fixture.connections, { timeout: 10_000, interval: 10 }).toBe(round + 1);
      const others = (await backends()).filter((one) => one !== pid);
      expect(others).toHaveLength(1);
    }
    await fixture.expectToHear('wake', 'still here');
    expect(fixture.disconnections).toHaveLength(60);
    expect(fixture.listener.lastError).toBeNull();
  }, 60_000);

  test('is noticed by the heartbeat when the network goes silent', async () => {
    const proxy = await proxyToServer();
    const fixture = new Fixture(proxy.through(database.url), ['wake']);
    await fixture.listener.start();
    // A beat that was answered must not count as a loss.
    await expect.poll(lastQuery, { timeout: 10_000 }).toBe('SELECT pg_backend_pid()');
    expect(fixture.disconnections).toEqual([]);

    proxy.pause();
    await expect.poll(() => fixture.disconnections.length, { timeout: 10_000 }).toBe(1);
    expect(fixture.listener.connected).toBe(false);
    await proxy.resume();
    await expect.poll(() => fixture.connections, { timeout: 15_000 }).toBe(2);
    await fixture.expectToHear('wake', 'again');
    await expect.poll(backends).toHaveLength(1);
  });

  test('is reported once per outage, and retried until the server is back', async () => {
    const proxy = await proxyToServer();
    const fixture = new Fixture(proxy.through(database.url), ['wake']);
    await fixture.listener.start();
    await proxy.refuse();
    proxy.cut();
    const errors = await distinctErrors(fixture.listener, 5);
    expect(errors.at(-1)).toMatchObject({ code: 'ECONNREFUSED' });
    expect(fixture.disconnections).toHaveLength(1);
    await fixture.listener.setChannels(['wake', 'new']);
    await proxy.resume();
    await expect.poll(() => fixture.connections, { timeout: 10_000 }).toBe(2);
    await fixture.expectToHear('new', 'x');
    await fixture.expectToHear('wake', 'y');
    expect(await backends()).toHaveLength(1);
  });
});

describe('starting', () => {
  test('while the database is away resolves, says so and goes on trying', async () => {
    const proxy = await proxyToServer();
    await proxy.refuse();
    const fixture = new Fixture(proxy.through(database.url), ['wake']);
    await fixture.listener.start();
    expect(fixture.listener.connected).toBe(false);
    expect(fixture.disconnections).toMatchObject([{ code: 'ECONNREFUSED' }]);
    await proxy.resume();
    await expect.poll(() => fixture.listener.connected, { timeout: 10_000 }).toBe(true);
    await fixture.expectToHear('wake', 'x');
  });

  test('with a wrong password resolves and tells the reason', async () => {
    const url = new URL(database.url);
    url.password = 'wrong';
    url.username = 'nobody_of_that_name';
    const fixture = new Fixture(url.href, ['wake']);
    await fixture.listener.start();
    expect(fixture.listener.connected).toBe(false);
    expect(fixture.listener.lastError).toBeInstanceOf(pg.DatabaseError);
  });

  test('twice opens one connection', async () => {
    const fixture = new Fixture(database.url, ['wake']);
    await Promise.all([fixture.listener.start(), fixture.listener.start()]);
    expect(fixture.connections).toBe(1);
    expect(await backends()).toHaveLength(1);
  });
});

describe('stopping', () => {
  let proxy: TcpProxy;
  beforeEach(async () => {
    proxy = await proxyToServer();
  });

  // Each of these hangs for ever with pg-listen's own close() and reconnecting.
  test('between two attempts', async () => {
    const fixture = new Fixture(proxy.through(database.url), ['wake']);
    await fixture.listener.start();
    await proxy.refuse();
    proxy.cut();
    await distinctErrors(fixture.listener, 3);
    await fixture.listener.stop();
    await proxy.resume();
    expect(fixture.listener.connected).toBe(false);
    expect(proxy.connections).toBe(0);
  });

  test('while connecting to a server that does not answer', async () => {
    proxy.pause();
    const fixture = new Fixture(proxy.through(database.url), ['wake']);
    const arrived = proxy.nextConnection();
    const started = fixture.listener.start();
    await arrived;
    const before = performance.now();
    await fixture.listener.stop();
    await started;
    expect(performance.now() - before).toBeLessThan(4_000); // connecting alone may take 5 s
    expect(fixture.disconnections).toEqual([]);
    await proxy.resume();
  });

  test('on a half-open connection', async () => {
    const fixture = new Fixture(proxy.through(database.url), ['wake']);
    await fixture.listener.start();
    proxy.pause();
    await fixture.listener.stop();
    expect(fixture.disconnections).toEqual([]);
    await proxy.resume();
  });

  test('twice, at once, before starting, and for good', async () => {
    const fixture = new Fixture(database.url, ['wake']);
    await fixture.listener.start();
    await Promise.all([fixture.listener.stop(), fixture.listener.stop()]);
    await fixture.listener.stop();
    expect(await backends()).toEqual([]);
    await fixture.listener.start();
    expect(fixture.listener.connected).toBe(false);

    const never = new Fixture(database.url, ['wake']);
    await never.listener.stop();
    await never.listener.start();
    expect(never.connections).toBe(0);
  });

  test('in the middle of starting', async () => {
    const fixture = new Fixture(database.url, ['wake']);
    const started = fixture.listener.start();
    await fixture.listener.stop();
    await started;
    expect(fixture.listener.connected).toBe(false);
  });
});

describe('probe', () => {
  test('is true when notifications arrive, and is not passed on', async () => {
    const fixture = new Fixture(database.url, ['wake']);
    await fixture.listener.start();
    expect(await Promise.all([fixture.listener.probe(notify), fixture.listener.probe(notify)])).toEqual([true, true]);
    await fixture.expectToHear('wake', 'after');
    expect(fixture.heard.every(({ channel }) => channel === 'wake')).toBe(true);
  });

  test('is false when they do not, or without a connection', async () => {
    const fixture = new Fixture(database.url, ['wake']);
    expect(await fixture.listener.probe(notify)).toBe(false);
    await fixture.listener.start();
    expect(await fixture.listener.probe(async () => undefined)).toBe(false);
    expect(fixture.listener.connected).toBe(true);
  });

  test('passes on the failure to notify', async () => {
    const fixture = new Fixture(database.url, ['wake']);
    await fixture.listener.start();
    await expect(fixture.listener.probe(() => Promise.reject(new Error('pool is closed')))).rejects.toThrow('pool is');
  });
});

test('the usage of the notification queue is measured, also while that fails', async () => {
  const answers = [() => Promise.reject(new Error('away')), () => Promise.resolve(0.25)];
  const measureQueue = () => (answers.shift() ?? (() => Promise.resolve(0.5)))();
  const fixture = new Fixture(database.url, [], { measureQueue, measureEveryMs: 100 });
  await fixture.listener.start();
  expect(fixture.listener.queueUsage).toBeNull();
  await expect.poll(() => fixture.listener.queueUsage, { timeout: 10_000 }).toBe(0.25);
});

const proxies: TcpProxy[] = [];
afterEach(async () => {
  await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
});

async function proxyToServer(): Promise<TcpProxy> {
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port || 5432) });
  proxies.push(proxy);
  return proxy;
}

async function lastQuery(): Promise<string | undefined> {
  const { rows } = await database.query<{ query: string }>('select query from pg_stat_activity where pid = $1', [
    (await backends())[0] ?? 0,
  ]);
  return rows[0]?.query;
}

async function distinctErrors(listener: Listener, count: number): Promise<Error[]> {
  const seen = new Set<Error>();
  await expect
    .poll(
      () => {
        if (listener.lastError !== null) seen.add(listener.lastError);
        return seen.size;
      },
      { timeout: 20_000, interval: 10 },
    )
    .toBeGreaterThanOrEqual(count);
  return [...seen];
}
