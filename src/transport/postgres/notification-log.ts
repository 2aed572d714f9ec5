import type pg from 'pg';
import type { Notification, NotificationLog } from '../contract.ts';
import { connectionConfig } from './connection.ts';
import { lockClass, locks } from './locks.ts';
import { WatchedClient } from './watched-client.ts';
import type { Wires } from './wires.ts';

/**
 * Opens the log for notifications of channel sources, or returns null when another instance records them: each would
 * make an event of its own of the same notification.
 */
export async function openNotificationLog(url: string, wires?: Wires): Promise<NotificationLog | null> {
  const client: pg.Client = new WatchedClient(connectionConfig(url, 'channels', 'on', wires));
  let broken: Error | null = null;
  client.on('error', (error) => {
    broken = error;
  });
  try {
    await client.connect();
    const { rows } = await client.query<{ mine: boolean }>('select pg_try_advisory_lock($1, $2) as mine', [
      lockClass,
      locks.channels,
    ]);
    if (rows[0]?.mine) return new PostgresNotificationLog(client, () => broken);
    await client.end();
    return null;
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}

class PostgresNotificationLog implements NotificationLog {
  readonly #client: pg.Client;
  readonly #failure: () => Error | null;

  constructor(client: pg.Client, failure: () => Error | null) {
    this.#client = client;
    this.#failure = failure;
  }

  async record(notifications: readonly Notification[]): Promise<void> {
    const failure = this.#failure();
    if (failure !== null) throw failure;
    if (notifications.length === 0) {
      await this.#client.query('select 1');
      return;
    }
    await this.#client.query(
      `with recorded as (
         insert into observers.events (source, operation, payload)
         select source, 'notify', observers.notification_payload(payload)
         from unnest($1::text[], $2::text[]) with ordinality as n(source, payload, n) order by n
       )
       select observers.wake()`,
      [notifications.map((n) => n.source), notifications.map((n) => n.payload)],
    );
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => {});
  }
}
