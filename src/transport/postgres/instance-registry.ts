import { hostname } from 'node:os';
import { pid } from 'node:process';
import type pg from 'pg';
import type { Delivery } from '../../domain/delivery.ts';
import {
  type BreakerReport,
  type Heartbeat,
  type InstanceRegistry,
  type Orphans,
  type Settlement,
  unattempted,
} from '../contract.ts';
import { deliveryColumns } from './claim-sql.ts';
import { type DeliveryRow, toDelivery } from './delivery-queue.ts';
import { type HoldRow, holdsInForce, toHolds } from './destination-holds.ts';
import { programVersion } from './program-version.ts';
import { newLease, settle } from './settlement.ts';

/**
 * The row of this process in observers.instances. `id` is new for every life of the process that lost its claims, so
 * that what an earlier life claimed can't be mistaken for this one's. `process` stays, and its sessions carry it.
 */
export function createInstanceRegistry(pool: pg.Pool, id: string, process = id): InstanceRegistry {
  let known = false;
  return {
    heartbeat: async (rulesVersion, routing, timeoutMs, breakers = []) => {
      const { isNew, ...beat } = await heartbeat(pool, { id, process, breakers }, rulesVersion, routing, timeoutMs);
      // Its row is gone: it was silent for so long that even that was cleared away.
      const forgotten = known && isNew;
      known = true;
      return { ...beat, declaredDead: beat.declaredDead || forgotten };
    },
    rescue: (timeoutMs) => rescue(pool, timeoutMs),
    evict: (timeoutMs) => evict(pool, timeoutMs),
    buryOrphans: (destinations) => buryOrphans(pool, id, destinations),
    deregister: async () => {
      await pool.query('delete from observers.instances where id = $1', [id]);
    },
  };
}

interface Self {
  readonly id: string;
  readonly process: string;
  readonly breakers: readonly BreakerReport[];
}

/** Thousands of tenants may have one each; whoever looks wants to know that there are many. */
const mostBreakers = 100;

interface BeatRow {
  readonly newest: boolean;
  readonly is_new: boolean;
  readonly declared_dead: boolean;
  readonly others_late: boolean;
  readonly others_alive: boolean;
  readonly holds: HoldRow[] | null;
}

/** A killed router's row goes on saying that it routes, until the next router says so of itself. */
async function heartbeat(
  pool: pg.Pool,
  self: Self,
  rulesVersion: string,
  routing: boolean,
  timeoutMs: number,
): Promise<Heartbeat & { readonly isNew: boolean }> {
  const { rows } = await pool.query<BeatRow>(
    `with former as (
       update observers.instances set routing = false where routing and id <> $1 and $6::boolean
     ), beat as (
       insert into observers.instances as i (id, host, pid, version, rules_version, routing, process, breakers)
       values ($1, $2, $3, $4, $5, $6, $7, $9::jsonb)
       on conflict (id) do update set heartbeat_at = now(), routing = excluded.routing, breakers = excluded.breakers, rules_version = excluded.rules_version,
         rules_loaded_at = case when i.rules_version = excluded.rules_version then i.rules_loaded_at else now() end
       returning rules_version, rules_loaded_at, xmax = 0 as is_new, declared_dead_at is not null as declared_dead
     )
     select is_new, declared_dead, not exists (
       select from observers.instances o
       where o.rules_version <> b.rules_version and o.rules_loaded_at > b.rules_loaded_at
         and o.heartbeat_at > now() - interval '1 minute') as newest, exists (
       select from observers.instances o
       where o.id <> $1 and o.heartbeat_at < now() - make_interval(secs => $8::float8 / 1000)) as others_late, exists (
       select from observers.instances o
       where o.id <> $1 and o.heartbeat_at >= now() - make_interval(secs => $8::float8 / 1000)) as others_alive,
       ${holdsInForce} as holds
     from beat b`,
    [self.id, hostname(), pid, programVersion, rulesVersion, routing, self.process, timeoutMs, breakersOf(self)],
  );
  const [beat] = rows;
  return {
    newestRules: beat?.newest === true,
    declaredDead: beat?.declared_dead === true,
    othersLate: beat?.others_late === true,
    othersAlive: beat?.others_alive === true,
    holds: toHolds(beat?.holds ?? null),
    isNew: beat?.is_new === true,
  };
}

function breakersOf({ breakers }: Self): string | null {
  return breakers.length === 0 ? null : JSON.stringify(breakers.slice(0, mostBreakers));
}

/**
 * A silent instance is declared dead in its own row before its claims go: a heartbeat that arrives meanwhile waits for
 * that, and then says so, or is waited for, and the claims stay.
 *
 * The lease stays as it is: a settlement of the silent instance that arrives before anybody claimed the delivery anew
 * is still welcome, and saves a repeat.
 */
async function rescue(pool: pg.Pool, timeoutMs: number): Promise<number> {
  const { rowCount } = await pool.query(
    `with late as (select make_interval(secs => $1::float8 / 1000) as past),
     gone as (delete from observers.instances using late where heartbeat_at < now() - past * 6 returning id),
     dead as (
       update observers.instances set declared_dead_at = now() from late
       where heartbeat_at < now() - past and heartbeat_at >= now() - past * 6 and declared_dead_at is null
       returning id
     )
     update observers.deliveries d set state = 'ready', claimed_by = null, due_at = least(due_at, now())
     where d.state = 'claimed' and (
       d.claimed_by in (select id from dead union all select id from gone)
       or not exists (select from observers.instances i where i.id = d.claimed_by and i.declared_dead_at is null))`,
    [timeoutMs],
  );
  return rowCount ?? 0;
}

async function evict(pool: pg.Pool, timeoutMs: number): Promise<number> {
  const { rows } = await pool.query<{ sessions: number }>(
    `with living as (
       select process::text from observers.instances where heartbeat_at >= now() - make_interval(secs => $1::float8 / 1000)
     ), forgotten as (
       delete from observers.channel_listeners
       where process <> all (array(select i.process from observers.instances i where i.process is not null))
     )
     select count(*) filter (where pg_terminate_backend(a.pid))::int as sessions from pg_stat_activity a
     where a.datname = current_database() and a.usename = current_user
       and a.application_name ~ '^pg-observers (router|channels) [0-9a-f-]{36}$'
       and right(a.application_name, 36) not in (select process from living where process is not null)`,
    [timeoutMs],
  );
  return rows[0]?.sessions ?? 0;
}

/**
 * Nobody would ever claim these. Only what has been due for a minute: during a rolling update, an instance that knows
 * the destination may be about to start.
 *
 * Claimed and settled like everything else: the lanes stay right, a replayed dead letter stays one, and a crash in
 * between costs nothing.
 */
async function buryOrphans(
  pool: pg.Pool,
  instance: string,
  destinations: readonly string[],
): Promise<readonly Orphans[]> {
  const { rows } = await pool.query<DeliveryRow>(
    `update observers.deliveries d set state = 'claimed', claimed_by = $1, lease = ${newLease}
     where d.id in (
       select id from observers.deliveries
       where state <> 'claimed' and destination <> all ($2::text[]) and due_at < now() - interval '1 minute'
       order by id limit 1000 for update skip locked)
     returning ${deliveryColumns}`,
    [instance, destinations],
  );
  if (rows.length === 0) return [];
  const deliveries = rows.map(toDelivery);
  const settled = await settle(pool, instance, deliveries.map(orphaned));
  return byRule(deliveries.filter(({ id }) => settled.has(id)));
}

const reason = 'rule_removed';

/** What the rule said about its dead went with the rule: no lane is held. */
const orphaned = (delivery: Delivery): Settlement =>
  unattempted(delivery, reason, `no rule names the destination ${delivery.destination} any more`, false);

function byRule(deliveries: readonly Delivery[]): Orphans[] {
  const rules = new Map<string, Orphans>();
  for (const { observer, action, destination } of deliveries) {
    const rule = JSON.stringify([observer, action, destination]);
    const count = (rules.get(rule)?.count ?? 0) + 1;
    rules.set(rule, { observer, action, destination, reason, count });
  }
  return [...rules.values()];
}

/** What somebody must do something about, for `status`, which asks no instance. */
export async function keepComplaints(pool: pg.Pool, instance: string, complaints: readonly string[]): Promise<void> {
  await pool.query(
    'update observers.instances set complaints = $2 where id = $1 and complaints is distinct from $2::text[]',
    [instance, complaints.length === 0 ? null : complaints],
  );
}
