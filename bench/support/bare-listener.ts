/**
 * The bare minimum that the latency benchmark compares with: LISTEN, and POST the payload from the callback. Nothing is
 * durable, nothing is retried, and what is notified while it is away is gone.
 *
 * Arguments: database URL, channel, URL to post to. Prints `ready`.
 */
import pg from 'pg';
import { Pool } from 'undici';

const [database, channel, target] = process.argv.slice(2) as [string, string, string];
const url = new URL(target);
const http = new Pool(url.origin, { connections: 10 });
const client = new pg.Client(database);
await client.connect();
client.on('notification', async ({ payload }) => {
  const { body } = await http.request({
    path: url.pathname,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: payload ?? '',
  });
  await body.dump();
});
await client.query(`listen ${pg.escapeIdentifier(channel)}`);
console.log('ready');
