import type pg from 'pg';
import { WatchedClient } from './watched-client.ts';
import { Wires } from './wires.ts';

/**
 * A question on a connection of its own, for when those that there are may be the ones in question.
 * @param withinMs for the answer, and once more for the good-bye: a session that goes silent would keep the process from ending
 * @throws what connecting and `ask` throw, and when there is no answer
 */
export async function askBriefly<T>(
  config: pg.ClientConfig,
  withinMs: number,
  ask: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const wires = new Wires();
  const client: pg.Client = new WatchedClient({ ...config, wires, query_timeout: withinMs });
  client.on('error', () => {});
  try {
    await client.connect();
    return await ask(client);
  } finally {
    // Not awaited: the answer is what somebody waits for.
    const hangUp = setTimeout(() => wires.cut(), withinMs);
    void client
      .end()
      .catch(() => {})
      .finally(() => clearTimeout(hangUp));
  }
}
