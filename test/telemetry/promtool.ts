import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Prometheus's own judge (Debian: `apt-get install prometheus`), when it is installed. */
export const promtool: ((args: readonly string[], input?: string) => Promise<string>) | null = installed()
  ? (args, input = '') =>
      new Promise((resolve) => {
        const child = execFile('promtool', args, (_, stdout, stderr) => resolve(stdout + stderr));
        child.stdin?.end(input);
      })
  : null;

function installed(): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, 'promtool'), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
