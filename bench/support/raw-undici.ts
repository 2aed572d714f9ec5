/** The limit: COUNT posts of BODY_BYTES each, CONCURRENCY at a time, by the HTTP library we use. Nothing durable, nothing signed. */
import { Pool } from 'undici';

const { TARGET_URL: target = '', COUNT: count, CONCURRENCY: concurrency, BODY_BYTES: bytes } = process.env;
const url = new URL(target);
const pool = new Pool(url.origin, { connections: Number(concurrency) });
const headers = { 'content-type': 'application/json' };
let next = 0;
const post = async () => {
  while (next < Number(count)) {
    const body = `{"key":"${++next}","note":"${'x'.repeat(Number(bytes) - 24)}"}`;
    await (await pool.request({ path: url.pathname, method: 'POST', headers, body })).body.dump();
  }
};
console.log('ready');
await Promise.all(Array.from({ length: Number(concurrency) }, post));
await pool.close();
process.exit(0);
