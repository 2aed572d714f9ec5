/**
 * The limit of latency: LISTEN, and POST the payload from the callback. Nothing is durable, nothing is retried, and what is
 * notified while it is away is gone.
 */
import pg from 'pg';
import { Pool } from 'undici';

const { DATABASE_URL: database, TARGET_URL: target = '', CHANNEL: channel = '' } = process.env;
const url = new URL(target);
const http = new Pool(url.origin, { connections: 10 });
const client = new pg.Client(database);
client.on('error', () => process.exit(1));
await client.connect();
client.on('notification', async ({ payload = '' }) => {
  const headers = { 'content-type': 'application/json' };
  const { body } = await http.request({ path: url.pathname, method: 'POST', headers, body: payload });
  await body.dump();
});
await client.query(`listen ${pg.escapeIdentifier(channel)}`);
console.log('ready');
