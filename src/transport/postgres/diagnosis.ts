/** What `doctor` asks the database. Reads only, locks nothing, and needs no right beyond connecting unless it says so. */

import type pg from 'pg';
import type { Config, TableSource } from '../../domain/rules.ts';
import { connectionConfig } from './connection.ts';
import { createListener } from './listener.ts';

export interface ServerFacts {
  /** `15.18`. */
  readonly version: string;
  /** `150018`. */
  readonly version_number: number;
  readonly standby: boolean;
  readonly wal_level: string;
  readonly max_connections: number;
  /** Of these, for superusers and pg_use_reserved_connections. */
  readonly reserved_connections: number;
  /** To all databases of the server. */
  readonly connections: number;
  /** 0 … 1. */
  readonly queue_usage: number;
  /** Unix milliseconds. */
  readonly now_ms: number;
}

const serverQuery = `
select current_setting('server_version') as version, current_setting('server_version_num')::int as version_number,
       pg_is_in_recovery() as standby, current_setting('wal_level') as wal_level, current_setting('max_connections')::int as max_connections,
       current_setting('superuser_reserved_connections')::int
         + coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0) as reserved_connections,
       (select coalesce(sum(numbackends), 0)::int from pg_stat_database) as connections,
       pg_notification_queue_usage() as queue_usage,
       extract(epoch from clock_timestamp())::float8 * 1000 as now_ms`;

/** And how long the answer took, and how far the database's clock is ahead of ours. Milliseconds. */
export interface ServerAnswer extends ServerFacts {
  readonly round_trip_ms: number;
  readonly clock_ahead_ms: number;
}

export async function readServer(pool: pg.Pool): Promise<ServerAnswer> {
  const client = await pool.connect();
  try {
    // The first statement of a session reads the catalog; the time of the second is that of the wire.
    await client.query(serverQuery);
    let best: { took: number; ahead: number; facts: ServerFacts } | null = null;
    for (let look = 0; look < 3; look++) {
      const before = Date.now();
      const startedAt = performance.now();
      const { rows } = await client.query<ServerFacts>(serverQuery);
      const took = performance.now() - startedAt;
      const [facts] = rows;
      if (facts !== undefined && (best === null || took < best.took))
        best = { took, ahead: facts.now_ms - (before + took / 2), facts };
    }
    if (best === null) throw new Error('the server answered nothing');
    return { ...best.facts, round_trip_ms: best.took, clock_ahead_ms: best.ahead };
  } finally {
    client.release();
  }
}

export interface Rights {
  readonly role: string;
  readonly create_in_database: boolean;
  /** The schema observers exists. */
  readonly installed: boolean;
  /** It may drop and replace what is in the schema; true without one. */
  readonly owns_schema: boolean;
  /** It may make and drop the partitions of the log and the history. */
  readonly owns_log: boolean;
  /** What `run` needs and does not have, as `select on observers.events`; at most 20. */
  readonly missing_to_run: readonly string[];
  /** Observed tables that exist and on which it may not create a trigger. */
  readonly no_trigger_on: readonly string[];
}

const rightsQuery = `
with spaces as (select oid, nspowner from pg_namespace where nspname = 'observers'),
wanted as (
  select c.oid, c.relname, p.privilege from spaces s join pg_class c on c.relnamespace = s.oid
  cross join unnest(array['select', 'insert', 'update', 'delete']) as p (privilege)
  where c.relkind in ('r', 'p') and not c.relispartition and c.relname <> 'migrations'
  union all
  select c.oid, c.relname, 'select' from spaces s join pg_class c on c.relnamespace = s.oid where c.relname = 'migrations'
),
missing as (
  select 'usage on schema observers' as what, 0 as rank from spaces where not has_schema_privilege(oid, 'usage')
  union all
  select privilege || ' on observers.' || relname, 1 from wanted where not has_table_privilege(oid, privilege)
  union all
  select 'usage on sequence observers.' || c.relname, 2 from spaces s join pg_class c on c.relnamespace = s.oid
  -- A condition beside the other one might be tried first, and raises on a table.
  where case when c.relkind = 'S' then not has_sequence_privilege(c.oid, 'usage') end
),
tables as (
  select c.oid, format('%I.%I', n.nspname, c.relname) as name
  from unnest($1::text[], $2::text[]) as t (schema, name)
  join pg_namespace n on n.nspname = t.schema join pg_class c on c.relnamespace = n.oid and c.relname = t.name
)
select current_user::text as role, has_database_privilege(current_database(), 'create') as create_in_database,
       exists (select from spaces) as installed,
       coalesce((select pg_has_role(nspowner, 'usage') from spaces), true) as owns_schema,
       coalesce((select bool_and(pg_has_role(c.relowner, 'usage')) from spaces s join pg_class c on c.relnamespace = s.oid
                 where c.relname in ('events', 'attempts')), true) as owns_log,
       array(select what from missing order by rank, what limit 20) as missing_to_run,
       array(select name from tables where not has_table_privilege(oid, 'trigger') order by 1) as no_trigger_on`;

export async function readRights(pool: pg.Pool, config: Config | null): Promise<Rights | null> {
  const tables = [...(config?.sources.values() ?? [])].filter(
    (source): source is TableSource => source.kind === 'table',
  );
  const { rows } = await pool.query<Rights>(rightsQuery, [
    tables.map(({ schema }) => schema),
    tables.map(({ table }) => table),
  ]);
  return rows[0] ?? null;
}

export interface DefaultPartition {
  /** `observers.events_default`. */
  readonly name: string;
  readonly oldest: string;
}

/** The default partitions that hold rows. Needs the right to read them. */
export async function readUsedDefaults(pool: pg.Pool): Promise<readonly DefaultPartition[]> {
  const { rows } = await pool.query<{ name: string; oldest: string | null }>(
    `select 'observers.events_default' as name, min(created_at) as oldest from (select created_at from observers.events_default limit 1000) e
     union all
     select 'observers.attempts_default', min(started_at) from (select started_at from observers.attempts_default limit 1000) a`,
  );
  return rows.flatMap(({ name, oldest }) => (oldest === null ? [] : [{ name, oldest }]));
}

/** Whether a notification sent on one connection arrives on another one. */
export async function hearsNotifications(pool: pg.Pool, url: string): Promise<boolean> {
  const listener = createListener({
    connection: connectionConfig(url, 'doctor'),
    channels: [],
    onNotification: () => {},
    onConnected: () => {},
    onDisconnected: () => {},
  });
  try {
    await listener.start();
    return await listener.probe((channel, payload) => pool.query('select pg_notify($1, $2)', [channel, payload]));
  } finally {
    await listener.stop();
  }
}
