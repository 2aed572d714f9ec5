import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '../domain/errors.ts';

const clearScreen = '\u001b[H\u001b[2J';

/**
 * Prints what `look` returns, again and again until Ctrl-C: in place on a terminal, one after the other into a pipe. A database
 * that is away is a line like any other, for it may come back while somebody watches.
 */
export async function watch(everyMs: number, look: () => Promise<string>): Promise<void> {
  const stopped = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.abort());
  while (!stopped.signal.aborted) {
    const text = await look().catch(unreachable);
    process.stdout.write(process.stdout.isTTY ? `${clearScreen}${text}\n` : `${text}\n`);
    await sleep(everyMs, undefined, { signal: stopped.signal }).catch(() => {});
  }
}

function unreachable(error: unknown): string {
  if (error instanceof UserError && error.exitStatus === 3) return error.message;
  throw error;
}
