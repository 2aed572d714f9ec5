/** npm run bench:docs: docs/performance.md and docs/performance.svg as docs/performance.json has it. */
import { readFile } from 'node:fs/promises';
import { reportFile, writePages } from './support/write.ts';

await writePages(JSON.parse(await readFile(reportFile, 'utf8')));
