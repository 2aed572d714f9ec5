import pg from 'pg';
import { onTestFinished, test } from 'vitest';
import { defineConfig } from '../../src/config/index.ts';
import { createEngine } from '../../src/engine.ts';
import { startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import { eventually } from '../deliver/fixture.ts';
import { majorOfServers, startServer } from '../support/server.ts';

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.end().catch(() => {}));
  return client;
}

/** A listener that stays in a transaction holds the tail of the queue. */
async function fillQueue(url: string): Promise<pg.Client> {
  const stuck = await connect(url);
  await stuck.query('listen anything');
  await stuck.query('begin');
  await stuck.query('select 1');
  const writer = await connect(url);
  const payload = 'x'.repeat(7_900);
  for (let full = false; !full; ) {
    full = await writer.query("select pg_notify('anything', $1)", [payload]).then(
      () => false,
      (error: pg.DatabaseError) => error.code === '54000',
    );
  }
  return stuck;
}

/** Resolves when a router lies down: it holds lock 3 of ours exclusively. */
async function asleep(client: pg.Client): Promise<void> {
  await eventually('a sleeping router', async () => {
    const { rowCount } = await client.query(
      "select from pg_locks where locktype = 'advisory' and classid = 1885826914 and objid = 3 and mode = 'ExclusiveLock'",
    );
    return rowCount !== 0;
  });
}

// Before PostgreSQL 17 the queue holds 8 GB, always.
test.runIf((await majorOfServers()) >= 17)(
  'with a full notification queue writers commit, and their changes are delivered',
  async () => {
    // A server of its own: the queue is one for the whole cluster.
    const server = await startServer({ settings: { max_notify_queue_pages: '64' } });
    onTestFinished(() => server.stop());
    const writer = await connect(server.url);
    await writer.query('create table public.orders (id integer primary key)');
    const hook = await startWebhookReceiver();
    onTestFinished(() => hook.close());
    const engine = createEngine(
      defineConfig({
        version: 1,
        database: server.url,
        sources: { orders: { table: 'public.orders' }, signups: { topic: 'signups' } },
        observers: {
          orders: { source: 'orders', actions: [{ webhook: hook.url }] },
          signups: { source: 'signups', actions: [{ webhook: hook.url }] },
        },
        settings: { listen: 'off', poll_interval: '200ms' },
      }),
    );
    onTestFinished(() => engine.stop({ timeoutMs: 0 }));
    await engine.start();
    const stuck = await fillQueue(server.url);
    // Whoever finds the router asleep notifies.
    await asleep(writer);
    await writer.query('insert into public.orders values (1)');
    await hook.received.waitFor(1);
    await asleep(writer);
    await writer.query("select observers.emit('signups')");
    await hook.received.waitFor(2);

    // Recovers unaided when that listener goes.
    await stuck.query('rollback');
    await stuck.end();
    await writer.query('insert into public.orders values (2)');
    await hook.received.waitFor(3);
  },
  60_000,
);
