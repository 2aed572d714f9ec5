import { expect, onTestFinished, test } from 'vitest';
import {
  ConfigError,
  type ConfigInput,
  createEngine,
  defineConfig,
  type TelemetryEvent,
  UserError,
} from '../../src/index.ts';
import { createDatabase } from '../support/database.ts';
import { startProcess } from '../support/processes.ts';
import { createShop, keyOf, receiver } from './shop.ts';
import { noSessions } from './world.ts';

const repository = new URL('../../', import.meta.url).pathname;

test('examples/embedding.mjs runs, finds the package by its own name, and ends by itself after stop', async () => {
  const database = await createDatabase('embedding_example');
  await database.query(
    'create table public.signups (id bigint generated always as identity primary key, email text not null)',
  );
  const hooks = await receiver();
  const env = { DATABASE_URL: database.url, WEBHOOK_URL: hooks.url };
  const example = startProcess(process.execPath, ['examples/embedding.mjs'], { cwd: repository, env });
  await example.waitForLine(/^observing, as instance [0-9a-f-]{36}; nothing is queued$/);
  await database.query(`insert into public.signups (email) values ('ada@example.org'), ('grace@example.com')`);
  await example.waitForLine(/^welcome\/webhook-1: delivered$/);
  expect(hooks.received.entries.map(({ body }) => JSON.parse(body))).toEqual([{ subscriber: 'grace@example.com' }]);
  expect(await example.kill()).toMatchObject({ status: 0, stderr: '' });
});

const input = (database: string, url: string): ConfigInput => ({
  version: 1,
  database,
  sources: { orders: { table: 'public.orders' } },
  destinations: { hook: { webhook: { url } } },
  observers: { created: { source: 'orders', actions: [{ webhook: 'hook' }] } },
});

test('start, status, readiness, reload and stop of an engine', async () => {
  const database = await createShop('embedding');
  const hooks = await receiver();
  const events: TelemetryEvent[] = [];
  const engine = createEngine(defineConfig(input(database.url, hooks.url)), {
    telemetry: (event) => events.push(event),
  });
  onTestFinished(() => engine.stop());
  expect(await engine.readiness()).toEqual({ ready: false, reasons: ['not started'] });
  await engine.start();
  await expect(engine.start()).rejects.toThrow('an engine starts once');
  await database.query('insert into public.orders values (1)');
  expect((await hooks.received.waitFor(1)).map(keyOf)).toEqual(['1']);
  expect(await engine.readiness()).toEqual({ ready: true, reasons: [] });
  expect(await engine.status()).toMatchObject({ instances: [{ pid: process.pid }], destinations: [{ name: 'hook' }] });

  // Two at once take turns; the second one wins.
  const other = await receiver();
  const silent = defineConfig({ ...input(database.url, hooks.url), observers: {} });
  const [, second] = [engine.reload(silent), engine.reload(defineConfig(input(database.url, other.url)))];
  await second;
  await database.query('insert into public.orders values (2)');
  expect((await other.received.waitFor(1)).map(keyOf)).toEqual(['2']);
  const broken = { ...input(database.url, other.url), sources: { orders: { table: 'public.none' } } };
  await expect(engine.reload(defineConfig(broken))).rejects.toThrow(ConfigError);
  await database.query('insert into public.orders values (3)');
  await other.received.waitFor(2);

  await Promise.all([engine.stop(), engine.stop()]);
  expect(await engine.readiness()).toEqual({ ready: false, reasons: ['stopped'] });
  await expect(engine.status()).rejects.toThrow(UserError);
  await expect(engine.reload(silent)).rejects.toThrow('stopped');
  await engine.start(); // it stays stopped
  expect(events.at(-1)).toEqual({ type: 'engine.stopped' });
  expect((await database.query('select from observers.instances')).rowCount).toBe(0);
});

test('a start that fails closes everything and says why', async () => {
  const database = await createShop('embedding_fails');
  const config = input(database.url, 'http://127.0.0.1:9/');
  const engine = createEngine(defineConfig({ ...config, sources: { orders: { table: 'public.nothing' } } }));
  await expect(engine.start()).rejects.toThrow(/source orders: there is no table public\.nothing/);
  expect(await engine.readiness()).toEqual({ ready: false, reasons: ['stopped'] });
  await noSessions(database);
});

test('stop before, right after and during start', async () => {
  const database = await createShop('embedding_stop');
  const config = defineConfig(input(database.url, 'http://127.0.0.1:9/'));
  const unstarted = createEngine(config);
  await unstarted.stop();
  await unstarted.start();
  expect(await unstarted.readiness()).toEqual({ ready: false, reasons: ['stopped'] });
  // Later and later, until one has started: each await of it is a chance to be stopped.
  let started = false;
  for (let turns = 1; !started; turns = Math.ceil(turns * 1.3)) {
    const engine = createEngine(config, {
      telemetry: ({ type }) => {
        started ||= type === 'engine.started';
      },
    });
    const starting = engine.start();
    for (let turn = 0; turn < turns && !started; turn++) await new Promise(setImmediate);
    await engine.stop();
    await starting;
    expect(await engine.readiness()).toEqual({ ready: false, reasons: ['stopped'] });
  }
  expect((await database.query('select from observers.instances')).rowCount).toBe(0);
}, 60_000);

test('the typed object is checked by the compiler, and at run time all at once', () => {
  const wrong = {
    version: 1,
    database: 'postgres://localhost/shop',
    sources: { orders: { tabel: 'orders' } },
    observers: { o: { source: 'order', actions: [] } },
  } as const;
  // @ts-expect-error `tabel` is not a key of a source
  expect(() => defineConfig(wrong)).toThrow(/tabel.*did you mean .*table[\s\S]*order/);
});
