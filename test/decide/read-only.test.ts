/** A server that reads only: by a setting, and as a standby. The sidecar says so, waits, and resumes by itself. */

import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { createEngine } from '../../src/engine.ts';
import { emitMany, eventually, migrated, numberOf, receiver, rules, run } from '../deliver/fixture.ts';
import { startServer } from '../support/server.ts';

const observers = (hook: string) => ({
  observers: { all: { source: 'orders', actions: [{ webhook: hook }] } },
  settings: { poll_interval: '200ms', instance_timeout: '1s' },
});

test('a database that became read-only: it says so, tries again without a busy loop, and resumes by itself', async () => {
  const database = await migrated('read_only');
  const hooks = await receiver();
  const { told, heard } = await run(rules(database.url, observers(hooks.url)));
  await emitMany(database, 1, 1);
  await hooks.received.waitFor(1);
  await database.query(`alter database ${database.name} set default_transaction_read_only = on`);
  await database.query(
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
  );
  const sessions = async () => {
    const { rows } = await database.query<{ sessions: number }>(
      'select sessions::int from pg_stat_database where datname = current_database()',
    );
    return rows[0]?.sessions ?? 0;
  };
  await eventually('that it is said', () =>
    told.some((event) => event.type === 'database.unreachable' && /read-only/.test(event.message)),
  );
  await database.query("begin; set transaction read write; select observers.emit('orders', '{\"n\": 2}'); commit");
  // Every try costs a session, as one that is read-only is thrown away.
  const began = performance.now();
  const before = await sessions();
  await eventually('further tries', async () => (await sessions()) >= before + 4);
  const perSecond = ((await sessions()) - before) / ((performance.now() - began) / 1_000);
  expect(perSecond).toBeLessThan(100);
  expect(hooks.received.entries.map(numberOf)).toEqual([1]);

  await database.query(`alter database ${database.name} reset default_transaction_read_only`);
  await hooks.received.waitFor(2);
  expect(hooks.received.entries.map(numberOf)).toEqual([1, 2]);
  await heard('database.reached');
  expect(told.filter(({ type }) => type === 'stage.failed')).toEqual([]);
}, 60_000);

test('a standby is refused at start; a primary that was demoted is waited for until it is promoted again', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'pg-observers-standby-'));
  await chmod(dataDir, 0o755);
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  let server = await startServer({ dataDir: join(dataDir, 'data'), persistent: true });
  onTestFinished(() => server.stop('immediate'));
  const { port, url } = server;
  const query = async (sql: string) => {
    const client = new pg.Client(url);
    await client.connect();
    return client.query(sql).finally(() => client.end());
  };
  const hooks = await receiver();
  const config = rules(url, observers(hooks.url));
  const { told } = await run(config);
  await query(`select observers.emit('orders', '{"n": 1}')`);
  await hooks.received.waitFor(1);

  await server.stop();
  const files = await readdir(dataDir, { recursive: true });
  const version = files.find((file) => /(^|\/)PG_VERSION$/.test(file) && !file.includes('/base/'));
  await writeFile(join(dataDir, dirname(version ?? ''), 'standby.signal'), '');
  server = await startServer({ dataDir: join(dataDir, 'data'), persistent: true, port });
  expect((await query('select pg_is_in_recovery() as standby')).rows).toEqual([{ standby: true }]);
  for (const apply of [true, false]) {
    await expect(createEngine(config, { apply }).start()).rejects.toThrow(
      'This server is a standby: point `database:` at the primary.',
    );
  }
  await eventually('that it is said', () =>
    told.some((event) => event.type === 'database.unreachable' && /standby|read-only|recovery/.test(event.message)),
  );
  await query('select pg_promote()');
  await query(`select observers.emit('orders', '{"n": 2}')`);
  await hooks.received.waitFor(2);
  expect(hooks.received.entries.map(numberOf)).toEqual([1, 2]);
  expect(told.filter(({ type }) => type === 'stage.failed')).toEqual([]);
}, 90_000);
