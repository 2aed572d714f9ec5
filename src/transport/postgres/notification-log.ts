import type pg from 'pg';
import type { ChannelBatch, ChannelPosition, Notification, NotificationLog, StoredPosition } from '../contract.ts';
import { connectionConfig, placeHolding } from './connection.ts';
import { channelLockClass, lockClass, locks, markChannel } from './locks.ts';
import { WatchedClient } from './watched-client.ts';
import type { Wires } from './wires.ts';

export interface NotificationLogOptions {
  /** Of the operating system, whatever life its instance is in; its sessions carry it. */
  readonly process: string;
  /** An instance silent for so long is dead. Milliseconds. */
  readonly timeoutMs: number;
  readonly wires?: Wires;
}

/** The session asks something every two seconds; one that is frozen must not keep its channels. Milliseconds. */
const idleMs = 4_000;

export async function openNotificationLog(url: string, options: NotificationLogOptions): Promise<NotificationLog> {
  const config = connectionConfig(url, `channels ${options.process}`, 'on', options.wires);
  const client: pg.Client = new WatchedClient(placeHolding(config, idleMs + options.timeoutMs));
  let broken: Error | null = null;
  client.on('error', (error) => {
    broken = error;
  });
  try {
    await client.connect();
    return new PostgresNotificationLog(client, options, () => broken);
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}

interface PositionRow {
  channel: string;
  mark: string;
  count: string;
  version: string;
}

class PostgresNotificationLog implements NotificationLog {
  readonly #client: pg.Client;
  readonly #options: NotificationLogOptions;
  readonly #failure: () => Error | null;

  constructor(client: pg.Client, options: NotificationLogOptions, failure: () => Error | null) {
    this.#client = client;
    this.#options = options;
    this.#failure = failure;
  }

  async announce(token: string, channels: readonly string[]): Promise<void> {
    await this.#query(
      'announce',
      `with next as (update observers.channel_marks set mark = mark + 1 returning mark),
       hears as (
         insert into observers.channel_listeners (process, channel, since)
         select $1, c.channel, next.mark from next, unnest($2::text[]) c(channel)
         on conflict (process, channel) do nothing
       )
       select pg_notify($3, mark || ' ' || $4) from next`,
      [this.#options.process, channels, markChannel, token],
    );
  }

  async publish(since: ReadonlyMap<string, number>): Promise<void> {
    await this.#query(
      'publish',
      `with gone as (delete from observers.channel_listeners where process = $1 and channel <> all ($2::text[]))
       insert into observers.channel_listeners (process, channel, since)
       select $1, * from unnest($2::text[], $3::bigint[])
       on conflict (process, channel) do update set since = excluded.since`,
      [this.#options.process, [...since.keys()], [...since.values()]],
    );
  }

  /** The row is read by the insert, and so as it is once the lock is held. */
  async take(channels: readonly string[]): Promise<ReadonlyMap<string, StoredPosition>> {
    const rows = await this.#query<PositionRow>(
      'take',
      `with free as materialized (
         select c.channel from unnest($2::text[]) c(channel)
         where exists (select where pg_try_advisory_lock_shared(${lockClass}, ${locks.formerRecorder}))
           and pg_try_advisory_lock(${channelLockClass}, hashtext(c.channel))
       )
       insert into observers.channel_positions as p (channel, mark, count, recorder)
       select channel, 0, 0, $1 from free
       on conflict (channel) do update set recorder = excluded.recorder
       returning p.channel, p.mark, p.count, p.version`,
      [this.#options.process, channels],
    );
    return new Map(rows.map((row) => [row.channel, { ...positionOf(row), version: row.version }]));
  }

  async giveBack(channels: readonly string[]): Promise<void> {
    await this.#query(
      'give-back',
      `with given as (
         update observers.channel_positions set recorder = null where channel = any ($2::text[]) and recorder = $1
       )
       select pg_advisory_unlock(${channelLockClass}, hashtext(c.channel)) from unnest($2::text[]) c(channel)`,
      [this.#options.process, channels],
    );
  }

  /** While version 0.1 records, which writes no positions, everything counts as recorded. */
  async look(channels: readonly string[]): Promise<ReadonlyMap<string, ChannelPosition>> {
    const rows = await this.#query<PositionRow>(
      'look',
      `select c.channel, case when f.gone then p.mark else ${Number.MAX_SAFE_INTEGER} end as mark, coalesce(p.count, 0) as count
       from (select pg_try_advisory_xact_lock_shared(${lockClass}, ${locks.formerRecorder}) as gone) f
       cross join unnest($1::text[]) c(channel) left join observers.channel_positions p using (channel)
       where p.channel is not null or not f.gone`,
      [channels],
    );
    return new Map(rows.map((row) => [row.channel, positionOf(row)]));
  }

  /** A process that was killed has no session any more, long before its heartbeat is missed. */
  async heardByOthers(channel: string, before: number): Promise<boolean> {
    const rows = await this.#query(
      'heard-by-others',
      `select from observers.channel_listeners l join observers.instances i using (process)
       where l.channel = $2 and l.since < $3 and l.process <> $1
         and i.heartbeat_at >= now() - make_interval(secs => $4::float8 / 1000)
         and exists (select from pg_stat_activity a
                     where a.datname = current_database() and a.application_name like 'pg-observers % ' || l.process)
       limit 1`,
      [this.#options.process, channel, before, this.#options.timeoutMs],
    );
    return rows.length > 0;
  }

  async record(batches: readonly ChannelBatch[], notifications: readonly Notification[]): Promise<ReadonlySet<string>> {
    const rows = await this.#query<{ channel: string }>('record', recordQuery, [
      batches.map((batch) => batch.channel),
      batches.map((batch) => batch.version),
      batches.map((batch) => batch.reaches.mark),
      batches.map((batch) => batch.reaches.count),
      notifications.map((one) => one.channel),
      notifications.map((one) => one.source),
      notifications.map((one) => one.payload),
      this.#options.process,
    ]);
    return new Set(rows.map((row) => row.channel));
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => {});
  }

  async #query<T extends pg.QueryResultRow>(name: string, text: string, values: unknown[]): Promise<T[]> {
    const failure = this.#failure();
    if (failure !== null) throw failure;
    return (await this.#client.query<T>({ name, text, values })).rows;
  }
}

/** A channel whose position was moved by somebody else is left out, with its notifications. */
const recordQuery = `
with moved as (
  update observers.channel_positions p
  set mark = n.mark, count = n.count, version = p.version + 1, recorder = $8, updated_at = now()
  from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) n(channel, version, mark, count)
  where p.channel = n.channel and p.version = n.version
  returning p.channel
), recorded as (
  insert into observers.events (source, operation, payload)
  select n.source, 'notify', observers.notification_payload(n.payload)
  from unnest($5::text[], $6::text[], $7::text[]) with ordinality n(channel, source, payload, number)
  where n.channel in (select channel from moved) order by n.number
)
select channel, observers.wake() from moved`;

function positionOf({ mark, count }: { mark: string; count: string }): ChannelPosition {
  return { mark: Number(mark), count: Number(count) };
}
