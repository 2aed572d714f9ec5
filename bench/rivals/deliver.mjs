/**
 * The job both rivals do for a changed row: the same envelope as pg-observers', signed as Standard Webhooks asks, posted with
 * the same HTTP client (undici). A job counts as done when the receiver answered 2xx; anything else throws, which makes the
 * rival retry it.
 */
import { createHmac, createSecretKey } from 'node:crypto';
import { Pool } from 'undici';

export const { DATABASE_URL: database, TARGET_URL: target, WEBHOOK_SECRET: secret } = process.env;
export const concurrency = Number(process.env.CONCURRENCY);

const url = new URL(target);
const pool = new Pool(url.origin, { connections: concurrency });
const key = createSecretKey(Buffer.from(secret.slice('whsec_'.length), 'base64'));

/** @param id of the job: stable over its retries */
export async function deliver(id, row) {
  const messageId = `msg_${id}`;
  const body = Buffer.from(
    JSON.stringify({
      id: messageId,
      type: 'orders.insert',
      timestamp: new Date().toISOString(),
      source: 'orders',
      operation: 'insert',
      key: String(row.id),
      tenant: null,
      data: { new: row, old: null, changed: [] },
    }),
  );
  const timestamp = Math.floor(Date.now() / 1000);
  const signature = createHmac('sha256', key).update(`${messageId}.${timestamp}.`).update(body).digest('base64');
  const answer = await pool.request({
    path: url.pathname,
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'user-agent': 'bench',
      'webhook-id': messageId,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': `v1,${signature}`,
    },
    body,
  });
  await answer.body.dump();
  if (answer.statusCode >= 300) throw new Error(`answered ${answer.statusCode}`);
}

export function stopOnSignal(stop) {
  process.once('SIGTERM', async () => {
    await stop();
    await pool.close();
    process.exit(0);
  });
}
