import { readFileSync } from 'node:fs';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** How the sender names itself: `pg-observers/1.2.3`. */
export const userAgent = `pg-observers/${version}`;
