import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { type ConfigInput, defineConfig } from '../../src/config/index.ts';
import type { Config } from '../../src/domain/rules.ts';
import { createEngine } from '../../src/engine.ts';
import { applyCapture } from '../../src/transport/postgres/capture-plan.ts';
import { createPool, withTransaction } from '../../src/transport/postgres/connection.ts';
import { createPooledPool, requireOwnSessions } from '../../src/transport/postgres/pooler.ts';
import { drained, numberOf, receiver, run } from '../deliver/fixture.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { noPgbouncer, type PgbouncerOptions, startPgbouncer } from '../support/pgbouncer.ts';

/* A real PgBouncer between engine and server. */

const withPgbouncer = noPgbouncer === null ? test : test.skip;
if (noPgbouncer !== null) console.warn(`skipped: ${noPgbouncer}`);

const ignoring = { ignore_startup_parameters: 'options' };

function configOf(database: string, direct: string | null, rest: Partial<ConfigInput> = {}): Config {
  const settings = { listen: 'off', poll_interval: '30s' };
  const way = direct === null ? {} : { direct_database: direct };
  return defineConfig({ version: 1, database, ...way, settings, ...rest }, { env: {} });
}

/** Both ways to a database: through PgBouncer, and past it. */
async function twoWays(label: string, options?: PgbouncerOptions): Promise<{ database: TestDatabase; pooled: string }> {
  const database = await createDatabase(label);
  return { database, pooled: await startPgbouncer(database.url, options) };
}

/** What the engine says when it is started, and refuses. */
async function refusal(config: Config): Promise<string> {
  const engine = createEngine(config);
  onTestFinished(() => engine.stop({ timeoutMs: 0 }));
  return engine.start().then(
    () => 'it started',
    (error: Error) => error.message,
  );
}

withPgbouncer('in transaction mode everything arrives: in order, after retries, or as dead letter', async () => {
  // Two server connections for all that the engine does at once: none of its sessions is ever its own.
  const { database, pooled } = await twoWays('pooler_all', { settings: { default_pool_size: '2' } });
  let refusals = 20;
  const hooks = await receiver({
    respond: (hook) => ({ status: numberOf(hook) % 10 === 7 && refusals-- > 0 ? 503 : 204 }),
  });
  const config = configOf(pooled, database.url, {
    sources: { orders: { topic: 'orders' } },
    destinations: {
      hooks: { webhook: { url: hooks.url }, retry: { attempts: 50, initial: '5ms', max: '20ms' }, concurrency: 8 },
      gone: { webhook: { url: 'http://127.0.0.1:9/' }, retry: { attempts: 2, initial: '1ms' } },
    },
    observers: {
      ordered: { source: 'orders', order_by: 'key', actions: [{ webhook: 'hooks' }] },
      dead: { source: 'orders', when: 'payload.n == 1', actions: [{ webhook: 'gone' }] },
    },
  });
  const running = await run(config);
  await running.heard('listener.connected');
  await database.query(
    "select observers.emit('orders', jsonb_build_object('n', n), (n % 5)::text) from generate_series(1, 200) n",
  );
  await drained(database, 201);

  const arrived = hooks.received.entries.map(numberOf);
  expect(arrived.length).toBe(220);
  for (let key = 0; key < 5; key++) {
    const lane = arrived.filter((n) => n % 5 === key);
    expect(lane, `key ${key}`).toEqual([...lane].sort((a, b) => a - b));
    expect(new Set(lane).size, `key ${key}`).toBe(40);
  }
  const { rows } = await database.query('select observer, attempts from observers.dead_letters');
  expect(rows).toEqual([{ observer: 'dead', attempts: 2 }]);
  expect(running.told.filter(({ type }) => type === 'stage.failed' || type === 'listener.deaf')).toEqual([]);
  // Had the probe said that notifications don't arrive, it would say so here.
  expect(await running.engine.readiness()).toEqual({ ready: true, reasons: [] });
  expect((await running.engine.status()).instances).toHaveLength(1);
});

withPgbouncer('every transaction has its settings, and leaves none of them behind', async () => {
  const { pooled } = await twoWays('pooler_settings', { settings: { default_pool_size: '1' } });
  const names = [
    'search_path',
    'TimeZone',
    'DateStyle',
    'jit',
    'plan_cache_mode',
    'enable_seqscan',
    'synchronous_commit',
  ];
  const settings = `select ${names.map((name) => `current_setting('${name}') as "${name}"`).join(', ')}`;
  const pool = createPooledPool(pooled, 1, 'off');
  onTestFinished(() => pool.end());
  const ours = {
    search_path: 'pg_catalog, pg_temp',
    TimeZone: 'UTC',
    DateStyle: 'ISO, MDY',
    jit: 'off',
    plan_cache_mode: 'force_generic_plan',
    enable_seqscan: 'off',
    synchronous_commit: 'off',
  };
  expect((await pool.query({ name: 'named', text: settings })).rows).toEqual([ours]);
  expect(await withTransaction(pool, async (client) => (await client.query(settings)).rows)).toEqual([ours]);

  const stranger = new pg.Client(pooled);
  await stranger.connect();
  const { rows } = await stranger.query(settings);
  // Nobody prepares under a name: the next one on that session would collide with it, and we would not find ours.
  const { rows: prepared } = await stranger.query('select name from pg_prepared_statements');
  await stranger.end();
  expect(rows).toEqual([expect.objectContaining({ plan_cache_mode: 'auto', enable_seqscan: 'on', jit: 'on' })]);
  expect(prepared).toEqual([]);
});

withPgbouncer('a statement that fails leaves no transaction open on the session of others', async () => {
  const { pooled } = await twoWays('pooler_failure', { settings: { default_pool_size: '1' } });
  const pool = createPooledPool(pooled, 2);
  onTestFinished(() => pool.end());
  await expect(pool.query('select 1 / $1::int as n', [0])).rejects.toThrow('division by zero');
  await expect(pool.query('select 1 / $1::int as n', [0])).rejects.toThrow('division by zero');
  expect((await pool.query('select 1 / $1::int as n', [1])).rows).toEqual([{ n: 1 }]);
});

withPgbouncer('as the only way to the database a pooler in transaction mode is refused, with the remedy', async () => {
  const { database, pooled } = await twoWays('pooler_alone', { settings: ignoring });
  const remedy = /a pooler in transaction mode: session locks don't hold .* `direct_database:`/;
  expect(await refusal(configOf(pooled, null))).toMatch(remedy);
  expect(await refusal(configOf(database.url, pooled))).toMatch(remedy);
  const pool = createPool(pooled, 2);
  onTestFinished(() => pool.end());
  const config = configOf(pooled, null, { sources: { t: { topic: 't' } } });
  await expect(applyCapture(pool, config)).rejects.toThrow(remedy);
  expect((await database.query("select to_regnamespace('observers') as there")).rows).toEqual([{ there: null }]);
});

withPgbouncer('however it hands out its sessions', async () => {
  const { database, pooled } = await twoWays('pooler_robin', { settings: { ...ignoring, server_round_robin: '1' } });
  // Idle sessions, so that the one that was used last is not the one that is given next.
  const busy = await Promise.all(Array.from({ length: 4 }, () => connected(pooled)));
  await Promise.all(busy.map((client) => client.query('select pg_sleep(0.05)')));
  expect(await refusal(configOf(pooled, null))).toMatch(/transaction mode/);
  expect(await refusal(configOf(database.url, null))).toBe('it started');
});

withPgbouncer('one that refuses the settings of a session is no outage: it is said, and what to do', async () => {
  const { pooled } = await twoWays('pooler_options');
  expect(await refusal(configOf(pooled, null))).toMatch(
    /^PostgreSQL at 127\.0\.0\.1:\d+\/test_pooler_options_\w+ is a pooler that refuses the settings of a session: unsupported startup parameter: options\. Give `direct_database:`/,
  );
});

withPgbouncer('in session mode a pooler is as good as the server', async () => {
  const { pooled } = await twoWays('pooler_session', { poolMode: 'session', settings: ignoring });
  const pool = createPool(pooled, 2);
  onTestFinished(() => pool.end());
  await requireOwnSessions(pool);
  expect(await refusal(configOf(pooled, null))).toBe('it started');
});

test('two URLs that lead to two databases are refused', async () => {
  const [one, other] = [await createDatabase('pooler_one'), await createDatabase('pooler_other')];
  expect(await refusal(configOf(one.url, other.url))).toBe(
    `\`database:\` and \`direct_database:\` are different databases, ${one.name} and ${other.name}: they must be two ways to one database.`,
  );
});

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}
