import { execFile } from 'node:child_process';
import { onPath } from '../support/on-path.ts';

/** Prometheus's own judge (Debian: `apt-get install prometheus`), when it is installed. */
export const promtool: ((args: readonly string[], input?: string) => Promise<string>) | null = onPath('promtool')
  ? (args, input = '') =>
      new Promise((resolve) => {
        const child = execFile('promtool', args, (_, stdout, stderr) => resolve(stdout + stderr));
        child.stdin?.end(input);
      })
  : null;
