/**
 * The statements that claim, each also in a form that waits until there is enough to gather. They run on the claim pool, whose commits don't wait for the disk: a claim that a crash
 * of the server forgets is a delivery that was in flight, and such a one may repeat under the same id anyway. What it
 * refers to is on disk, because the routing commit before it did wait.
 *
 * No subselect over events in a list of columns: PostgreSQL 18 (up to 18.4 at least) crashes when a row turns out to be
 * locked by another claim and the same statement has a subplan over a partitioned table. Joins don't.
 */

import { bytesOf, eventBytes, eventColumns, keptEventColumns } from './event-row.ts';
import { newLease } from './settlement.ts';

export const deliveryColumns = `
  d.id::text as delivery_id, d.lease::text as lease, d.observer, d.action, d.destination, d.tenant as delivery_tenant,
  d.ordering_key, d.attempts, d.rule_version, d.dead_letter_id::text as dead_letter_id, d.replay_run::text as replay_run,
  extract(epoch from now() - d.created_at)::float8 * 1000 as age_ms`;

/** From `picked` to the rows of an answer; $3 instance, $4 bytes of an event that comes along. @param due times to come */
const answer = (due: string, seen: string, more = '') => `
d as (
  update observers.deliveries d
  set state = 'claimed', claimed_by = $3::uuid, lease = ${newLease}, first_attempt_at = coalesce(d.first_attempt_at, now())
  -- Not a join: its plan, made once and for any number of slots, reads the whole queue.
  where d.id = any (array(select id from picked))
  returning d.*
),
due as (select extract(epoch from min(n.due_at) - now())::float8 * 1000 as next_due_ms from (${due}) n)
select due.next_due_ms, ${seen} as seen, ${deliveryColumns}, ${more}e.*
from due left join d on true
left join lateral (
  select ${eventColumns('e')}, e.large_bytes from (
    select f.id, f.uid, f.source, f.operation, f.table_schema, f.table_name, f.key, f.tenant, f.context, f.created_at,
           ${['old', 'new', 'payload'].map((image) => `case when f.bytes <= $4 then f.${image} end as ${image}`).join(', ')},
           case when f.bytes > $4 then f.bytes end as large_bytes
    from (
      select e.*, ${eventBytes('e')} as bytes from observers.events e
      where d.dead_letter_id is null and e.id = d.event_id and e.created_at = d.event_at
      -- So that the size is computed once.
      offset 0
    ) f
  ) e
  union all
  select ${keptEventColumns('k')}, k.large_bytes from (
    select f.event_id, f.event_uid, case when f.bytes <= $4 then f.event end as event, case when f.bytes > $4 then f.bytes end as large_bytes
    from (
      select k.*, ${bytesOf('k.event')} as bytes from observers.dead_letters k where k.id = d.dead_letter_id
      offset 0
    ) f
  ) k
) e on true
order by d.id`;

/** Those that failed together were given the same time to go again, which tells them from all others. */
const together = 'case when d.attempts > 0 then d.due_at::text end as together, ';

/** Whether it is time for all that is due and matches (`whole`), or for what failed before, which has waited already (`again`). */
const gauge = (matching: string, most: string) => `
    select coalesce(count(*) >= w.enough or min(q.due_at) filter (where q.attempts = 0) <= now() - w.wait, false) as whole,
           coalesce(bool_or(q.attempts > 0), false) as again, count(*) as due, min(q.due_at) filter (where q.attempts = 0) as oldest
    from (
      select d.due_at, d.attempts from observers.deliveries d
      where d.state = 'ready' and d.destination = w.destination and d.due_at <= now() and ${matching}
      order by d.due_at limit ${most}
    ) q`;

const wait = 'make_interval(secs => w.wait_ms / 1000) as wait';

const plainWish = `
with wish as (select * from unnest($1::text[], $2::int[]) as w(destination, slots)),`;

/** $5 how long the oldest waits for others, milliseconds; $6 how many need not wait. */
const gatheringWish = `
with asked as materialized (
  select w.*, g.* from (
    select w.destination, w.slots, w.enough, ${wait}
    from unnest($1::text[], $2::int[], $5::float8[], $6::int[]) as w(destination, slots, wait_ms, enough)
  ) w cross join lateral (${gauge('d.tenant is null', 'w.slots')}
  ) g
),
wish as (
  select destination, whole,
         -- Before its time only full requests: what is over waits for more.
         case when again or oldest <= now() - wait then slots else due / enough * enough end as slots
  from asked where whole or again
),`;

/**
 * $1 destinations, $2 slots of each. One statement for all of them: first in, first out, what has no tenant. Whether
 * something has one is a look at the first entry of an index.
 */
function plainClaim(gathers: boolean): string {
  const asked = gathers ? 'asked' : 'wish';
  const unripe = gathers
    ? `select w.oldest + w.wait as due_at from asked w where w.oldest > now() - w.wait
  union all
  `
    : '';
  return `${gathers ? gatheringWish : plainWish}
picked as materialized (
  select p.id from wish w cross join lateral (
    select d.id from observers.deliveries d
    where d.state = 'ready' and d.tenant is null and d.destination = w.destination and d.due_at <= now()${gathers ? ' and (w.whole or d.attempts > 0)' : ''}
    order by d.due_at, d.id limit w.slots
    for update skip locked
  ) p
),
tenanted as materialized (
  select w.destination from ${asked} w cross join lateral (
    select d.tenant from observers.deliveries d
    where d.state = 'ready' and d.tenant is not null and d.destination = w.destination
    order by d.tenant, d.due_at limit 1
  ) t
),
${answer(
  `${unripe}select next.due_at from ${asked} w cross join lateral (
    select o.due_at from observers.deliveries o
    where o.state = 'ready' and o.tenant is null and o.destination = w.destination and o.due_at > now()
    order by o.due_at limit 1
  ) next`,
  `(select jsonb_object_agg(t.destination, '{"any": true, "last": null, "more": true, "heldBack": []}'::jsonb) from tenanted t)`,
  gathers ? together : '',
)}`;
}

export const plainClaimQuery = plainClaim(false);
export const gatheringClaimQuery = plainClaim(true);

/** Tenants at which one statement looks: some ten microseconds each. The next one goes on behind them. */
const mostVisits = 5_000;

const tenantWish = `with wish as materialized (
  select * from unnest($1::text[], $2::int[], $5::text[], $6::int[], $7::jsonb[], $8::int[])
    as w(destination, slots, after, most, rooms, tenantless)
),`;

const gatheringTenantWish = `with wish as materialized (
  select w.*, ${wait}
  from unnest($1::text[], $2::int[], $5::text[], $6::int[], $7::jsonb[], $8::int[], $9::float8[], $10::int[], $11::int[])
    as w(destination, slots, after, most, rooms, tenantless, wait_ms, enough, worth)
),`;

const ripeness = `cross join lateral (
        select g.* from (${gauge('d.tenant = next.tenant', 'w.worth')}) g where next.tenant is not null
        union all
        select g.* from (${gauge('d.tenant is null', 'w.worth')}) g where next.tenant is null
      ) gauge
      `;

/**
 * $1 destinations, $2 slots of each, $5 the tenants that had the last turns, $6 the most for a tenant, $7 jsonb: what it is
 * instead, by tenant, $8 for what has no tenant.
 *
 * `walk` goes from tenant to tenant, each by one descent into the index (destination, tenant, due_at, id), however many
 * rows a tenant has: from behind the last turn upwards; then, as one more, what has no tenant (lap 1); and from the
 * beginning to where it set out. It ends when it has found as many with something due and room for it as there are
 * slots. They share evenly; what a poor one leaves is for the next claim, which follows at once when there is more.
 *
 * What gathers ($9 waits, milliseconds, $10 how many need not wait, $11 a request's worth) passes over tenants whose time has not
 * come, and takes requests' worths instead of even shares: half a request each would be worse than turns.
 *
 * The alternative, to number the rows of each tenant and sort by that, reads the queue.
 */
function tenantClaim(gathers: boolean): string {
  const due = gathers ? '(gauge.whole or gauge.again)' : 'coalesce(next.due_at <= now(), false)';
  const picked = gathers ? ' and (t.whole or d.attempts > 0)' : '';
  const times = (alias: string) => (gathers ? ` * ${alias}.worth` : '');
  return `
${gathers ? gatheringTenantWish : tenantWish}
visited as materialized (
  select w.destination, w.slots, ${gathers ? 'w.wait, w.worth, ' : ''}v.* from wish w cross join lateral (
    with recursive walk as (
      select w.after as tenant, null::timestamptz as due_at, false as due, ${gathers ? 'false as whole, ' : ''}0 as room, 0 as lap, 0 as n, 0 as found
      union all
      select next.tenant, next.due_at, ${due}, ${gathers ? 'gauge.whole, ' : ''}share.room, next.lap, walk.n + 1, walk.found + (share.room > 0)::int
      from walk cross join lateral (
        (select d.tenant, d.due_at, walk.lap from observers.deliveries d
         where d.state = 'ready' and d.destination = w.destination and d.tenant > walk.tenant
         order by d.tenant, d.due_at limit 1)
        union all
        (select d.tenant, d.due_at, walk.lap from observers.deliveries d
         where walk.tenant is null and d.state = 'ready' and d.destination = w.destination and d.tenant is not null
         order by d.tenant, d.due_at limit 1)
        union all
        (select null, (select d.due_at from observers.deliveries d
                       where d.state = 'ready' and d.tenant is null and d.destination = w.destination
                       order by d.due_at limit 1), 1
         where walk.lap = 0)
        limit 1
      ) next
      ${gathers ? ripeness : ''}cross join lateral (
        select case when not ${due} then 0
                    when next.tenant is null then w.tenantless
                    else coalesce((w.rooms ->> next.tenant)::int, w.most) end as room
        offset 0
      ) share
      where walk.found${times('w')} < w.slots and walk.n < ${mostVisits}
        and not (walk.lap = 1 and walk.tenant is null and w.after is null)
        and (next.lap = 0 or next.tenant is null or next.tenant <= w.after or w.after is null)
    )
    select * from walk where n > 0
  ) v
),
turn as materialized (
  select t.*, ${gathers ? 'least(t.room, t.worth)' : 'least(t.room, t.slots / t.turns + (t.place <= t.slots % t.turns)::int)::int'} as share
  from (select v.*, row_number() over turns as place, count(*) over (partition by v.destination) as turns
        from visited v where v.room > 0 window turns as (partition by v.destination order by v.n)) t
),
picked as materialized (
  select t.destination, t.n, p.id from turn t cross join lateral (
    select d.id from observers.deliveries d
    where d.state = 'ready' and d.destination = t.destination and d.tenant = t.tenant and d.due_at <= now()${picked}
    order by d.due_at, d.id limit t.share
    for update skip locked
  ) p
  union all
  select t.destination, t.n, p.id from turn t cross join lateral (
    select d.id from observers.deliveries d
    where t.tenant is null and d.tenant is null and d.state = 'ready' and d.destination = t.destination and d.due_at <= now()${picked}
    order by d.due_at, d.id limit t.share
    for update skip locked
  ) p
),
taken as (select destination, n, count(*) as count from picked group by 1, 2),
seen as materialized (
  select jsonb_object_agg(s.destination, jsonb_build_object(
    'any', s.tenants > 0, 'last', s.last, 'heldBack', s.held_back,
    'more', s.unfilled or s.found${times('s')} >= s.slots or (s.visits >= ${mostVisits} and s.found > 0))) as seen
  from (
    select v.destination, max(v.slots) as slots, ${gathers ? 'max(v.worth) as worth, ' : ''}max(v.found) as found, max(v.n) as visits, count(v.tenant) as tenants,
           (array_agg(v.tenant order by v.n desc))[1] as last,
           coalesce(bool_or(t.share < t.room and k.count >= t.share), false) as unfilled,
           coalesce(jsonb_agg(v.tenant) filter (where v.due and (v.room = 0 or (t.share = t.room and k.count >= t.share))), '[]') as held_back
    from visited v
    left join turn t on t.destination = v.destination and t.n = v.n
    left join taken k on k.destination = v.destination and k.n = v.n
    group by 1
  ) s
),
${answer(
  `select ${gathers ? 'case when v.due_at <= now() then v.due_at + v.wait else v.due_at end as due_at' : 'v.due_at'} from visited v where not ${gathers ? 'v.whole' : 'v.due'}
  union all
  select next.due_at from visited v cross join lateral (
    select o.due_at from observers.deliveries o
    where v.due and o.state = 'ready' and o.destination = v.destination and o.tenant = v.tenant and o.due_at > now()
    order by o.due_at limit 1
  ) next
  union all
  select next.due_at from wish w cross join lateral (
    select o.due_at from observers.deliveries o
    where o.state = 'ready' and o.tenant is null and o.destination = w.destination and o.due_at > now()
    order by o.due_at limit 1
  ) next`,
  '(select seen from seen)',
  gathers ? together : '',
)}`;
}

export const tenantClaimQuery = tenantClaim(false);
export const gatheringTenantClaimQuery = tenantClaim(true);
