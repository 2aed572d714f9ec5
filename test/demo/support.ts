import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Where a demo puts its server, watched: `env` for the process, and what it left. */
export async function watchedPlace() {
  // Not os.tmpdir(): as root the server runs as another user, who may not be able to enter that.
  const path = await mkdtemp('/tmp/demo-test-');
  await chmod(path, 0o755);
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return {
    env: { TMPDIR: path },
    leftovers: async () => ({ files: await readdir(path), processes: await processesNaming(path) }),
    directories: () => readdir(path),
  };
}

export const nothing = { files: [], processes: [] };

/** Command lines that name the path: a postmaster or initdb has its data directory there. */
async function processesNaming(path: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(pid)) continue;
    const command = await readFile(join('/proc', pid, 'cmdline'), 'utf8').catch(() => '');
    if (command.includes(path)) found.push(command.replaceAll('\0', ' '));
  }
  return found;
}

export const summaryPattern =
  /^demo: (\d+) events, (\d+) deliveries, (\d+) delivered, (\d+) dead-lettered, (\d+) replayed, (\d+) lost$/;

/** The figures of the last line. @throws Error when that is something else */
export function summaryOf(output: string) {
  const last = output.trimEnd().split('\n').at(-1) ?? '';
  const match = summaryPattern.exec(last);
  if (match === null) throw new Error(`the last line is ${JSON.stringify(last)}`);
  const [events, deliveries, delivered, deadLettered, replayed, lost] = match.slice(1).map(Number);
  return { events, deliveries, delivered, deadLettered, replayed, lost };
}

/** Polls until the condition holds. @throws Error after `withinMs` */
export async function until(condition: () => Promise<boolean>, withinMs = 20_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
