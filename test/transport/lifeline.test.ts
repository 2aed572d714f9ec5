import type pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { connectionConfig } from '../../src/transport/postgres/connection.ts';
import { Lifeline } from '../../src/transport/postgres/lifeline.ts';
import { WatchedClient } from '../../src/transport/postgres/watched-client.ts';
import { Wires } from '../../src/transport/postgres/wires.ts';
import { createDatabase } from '../support/database.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

const database = await createDatabase('lifeline');

/** Connections through a proxy, looked after while the heartbeat is well. */
async function watched() {
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  const wires = new Wires();
  const lifeline = new Lifeline(wires);
  const url = proxy.through(database.url);
  lifeline.watch(
    url,
    () => 0,
    () => 60_000,
  );
  onTestFinished(async () => {
    await lifeline.during(database.pool(), async () => {});
    wires.cut();
    await proxy.stop();
  });
  const connect = async () => {
    const client: pg.Client = new WatchedClient(connectionConfig(url, 'worker', 'on', wires));
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  return { proxy, connect, lifeline };
}

test('one connection that went silent is cut, and ends at the server with all it holds; one that is at work, or waits for nothing, is left alone', async () => {
  const { proxy, connect } = await watched();
  const inTransaction = await connect();
  await inTransaction.query('begin');
  await inTransaction.query('select pg_advisory_xact_lock(1)');
  const saysGoodBye = await connect();
  proxy.swallow();
  const atWork = await connect();
  const idle = await connect();
  await idle.query('select 1');
  const longQuery = atWork.query('select pg_sleep(9), 42 as answer');
  const parting = saysGoodBye.end();
  await expect(inTransaction.query('select 1')).rejects.toThrow('the database does not answer');
  await parting;
  // The server was told, too: else it would wait for the rest of the transaction.
  await database.query('select pg_advisory_lock(1)');
  expect((await longQuery).rows[0]?.answer).toBe(42);
  expect((await idle.query('select 42 as answer')).rows[0]?.answer).toBe(42);
});

test('a session that went silent and was given up does not keep the process from ending', async () => {
  const { proxy, connect, lifeline } = await watched();
  const givenUp = await connect();
  proxy.swallow();
  const parting = givenUp.end();
  await lifeline.hangUp([]);
  await parting;
});
