/** What a crash of the server leaves of a routing commit that did not wait for the disk. */

import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { defineConfig } from '../../src/config/index.ts';
import { decide } from '../../src/pipeline/decide/decide.ts';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';
import { connectionConfig } from '../../src/transport/postgres/connection.ts';
import { resumeRouting } from '../../src/transport/postgres/routing-session.ts';
import { startServer } from '../support/server.ts';
import { apply, connect, hotRules, hotTable, openSession, prepare } from './support.ts';

/** A session that notes how its commits wait. */
async function observedSession(url: string) {
  const client = new pg.Client(connectionConfig(url, 'router'));
  await client.connect();
  const waits: unknown[] = [];
  const query = client.query.bind(client) as (...args: unknown[]) => unknown;
  client.query = ((...args: unknown[]) => {
    const [config] = args as [{ name?: string; values?: unknown[] }];
    if (config.name === 'commit') waits.push(config.values?.at(-1));
    return query(...args);
  }) as typeof client.query;
  const session = await resumeRouting(client);
  onTestFinished(() => session.close());
  return { session, waits };
}

test('routing waits for the disk when the writer did not, and only then', async () => {
  const { database, rules } = await prepare('durability', hotTable, hotRules(false));
  const { session, waits } = await observedSession(database.url);
  const writer = await connect(database.url);
  /** Routes changes of such a writer until a commit has waited as expected: others write to the same server, too. */
  const meets = async (synchronousCommit: 'on' | 'off', wait: 'on' | 'off') => {
    await writer.query(`set synchronous_commit = ${synchronousCommit}`);
    waits.length = 0;
    for (let n = 0; n < 1_000 && !waits.includes(wait); n++) {
      await writer.query('update public.hot set v = v + 1 where id = 1');
      const events = await session.read();
      expect(events).toHaveLength(1);
      expect(await session.commit(decide(events, rules))).not.toBeNull();
    }
    return waits.includes(wait);
  };
  expect(await meets('off', 'on')).toBe(true);
  expect(await meets('on', 'off')).toBe(true);
});

test('a crash of the server right after routing loses no event and doubles no delivery', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'pg-observers-crash-'));
  // As root, the server runs as another user, who must be able to enter.
  await chmod(dataDir, 0o755);
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const start = () => startServer({ dataDir: join(dataDir, 'data'), persistent: true });
  let server = await start();
  onTestFinished(() => server.stop('immediate'));
  const config = () => defineConfig({ version: 1, database: server.url, ...hotRules(false) }, { env: {} });
  const admin = new pg.Client(server.url);
  await admin.connect();
  await admin.query(hotTable);
  await admin.end();
  await apply(config());
  const rules = new RuleIndex(config());
  let forgotten = 0;
  for (let round = 1; round <= 5; round++) {
    const writer = new pg.Client(server.url);
    writer.on('error', () => {});
    const session = await openSession(server.url);
    await writer.connect();
    await writer.query('update public.hot set v = v + 1 where id <= 3');
    expect(await session.commit(decide(await session.read(), rules))).not.toBeNull();
    await server.stop('immediate');
    server = await start();

    const again = await openSession(server.url);
    const events = await again.read();
    forgotten += events.length;
    if (events.length > 0) expect(await again.commit(decide(events, rules))).not.toBeNull();
    const reader = new pg.Client(server.url);
    await reader.connect();
    const { rows } = await reader.query(
      `select (select count(*)::int from observers.events) as events, count(*)::int as deliveries, count(distinct event_uid)::int as of
       from observers.deliveries`,
    );
    expect(rows).toEqual([{ events: 3 * round, deliveries: 3 * round, of: 3 * round }]);
    await reader.end();
    await again.close();
    await session.close();
  }
  // Without a single one forgotten, this test would have tried nothing.
  expect(forgotten).toBeGreaterThan(0);
});
