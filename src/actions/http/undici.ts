import { createRequire } from 'node:module';
import type * as undici from 'undici';

/*
 * The parts of undici that we use. What the package exports is all of it: fetch, caches, cookies, WebSocket; loading those takes
 * longer than loading us. The names of its files are not promised, but its version here is exact.
 */

const part = createRequire(import.meta.url);

export const Client: typeof undici.Client = part('undici/lib/dispatcher/client.js');
export const buildConnector: typeof undici.buildConnector = part('undici/lib/core/connect.js');
export const errors: typeof undici.errors = part('undici/lib/core/errors.js');
