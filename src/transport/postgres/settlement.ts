/**
 * What became of claimed deliveries, written in batches: history and gone, due again, or a dead letter. Fenced by the
 * lease, and what it means for an ordered lane is part of the same transaction.
 */

import type pg from 'pg';
import { isPlain, type Settlement } from '../contract.ts';
import { booleanArray, digitsArray, textArray } from './array-literal.ts';
import { withTransaction } from './connection.ts';
import { holdColumns, holdSettling } from './destination-holds.ts';
import { noteColumns, noteSettling } from './notes.ts';

/**
 * Random, not one more than the last: after a crash of the server forgot a claim, counting would give the next claim the
 * same number, and both could settle.
 */
export const newLease = '(random() * 9e18)::bigint';

export async function settle(
  pool: pg.Pool,
  instance: string,
  settlements: readonly Settlement[],
): Promise<ReadonlySet<string>> {
  if (settlements.every(isPlain)) return settlePlain(pool, instance, settlements);
  const also = { notes: settlements.some(({ note }) => note), holds: settlements.some(({ hold }) => hold) };
  const values = [
    ...settlementColumns(instance, settlements),
    ...(also.notes ? noteColumns(settlements, storableJson) : []),
    ...(also.holds ? holdColumns(settlements, storable) : []),
  ];
  const inLanes = settlements.filter((s) => s.delivery.orderingKey !== null && s.kind !== 'retry');
  const replayed = settlements.filter((s) => s.kind !== 'retry').flatMap((s) => s.delivery.deadLetterId ?? []);
  if (inLanes.length === 0 && replayed.length === 0)
    return settled(await pool.query<{ id: string }>({ ...settleStatement({ ...also, lanes: false }), values }));
  // Lanes first, in a statement of their own: the settling one must see what a router queued while this waited for it.
  return withTransaction(pool, async (client) => {
    await lockLanes(client, inLanes, replayed);
    return settled(await client.query<{ id: string }>({ ...settleStatement({ ...also, lanes: true }), values }));
  });
}

/** One outcome, in a transaction that has begun: it counts when that commits. */
export async function settleWithin(
  client: pg.PoolClient,
  instance: string,
  settlement: Settlement,
): Promise<ReadonlySet<string>> {
  if (isPlain(settlement)) return settlePlain(client, instance, [settlement]);
  const { orderingKey, deadLetterId } = settlement.delivery;
  await lockLanes(client, orderingKey === null ? [] : [settlement], deadLetterId === null ? [] : [deadLetterId]);
  const values = settlementColumns(instance, [settlement]);
  return settled(
    await client.query<{ id: string }>({ ...settleStatement({ lanes: true, notes: false, holds: false }), values }),
  );
}

/** Dead letters before lanes before deliveries, as `observers.replay` and the trigger that frees a lane do: another order would be a deadlock. */
async function lockLanes(client: pg.PoolClient, inLanes: readonly Settlement[], replayed: readonly string[]) {
  if (replayed.length > 0) {
    await client.query('select from observers.dead_letters where id = any ($1::bigint[]) order by id for update', [
      replayed,
    ]);
  }
  await client.query(
    `select from observers.lanes
     where (destination, ordering_key) in (
       select * from unnest($1::text[], $2::text[])
       union all
       select destination, ordering_key from observers.dead_letters where id = any ($3::bigint[]) and holds_lane)
     order by destination, ordering_key for update`,
    [inLanes.map((s) => s.delivery.destination), inLanes.map((s) => s.delivery.orderingKey), replayed],
  );
}

const settled = ({ rows }: pg.QueryResult<{ id: string }>): ReadonlySet<string> => new Set(rows.map((row) => row.id));

function settlementColumns(instance: string, settlements: readonly Settlement[]): unknown[] {
  const column = <T>(value: (s: Settlement) => T) => settlements.map(value);
  return [
    instance,
    digitsArray(column((s) => s.delivery.id)),
    digitsArray(column((s) => s.delivery.lease)),
    textArray(column((s) => s.kind)),
    digitsArray(column(age)),
    digitsArray(column((s) => s.durationMs)),
    digitsArray(column((s) => s.delayMs)),
    textArray(column((s) => s.reason)),
    digitsArray(column((s) => s.status)),
    textArray(column((s) => storable(s.errorClass))),
    textArray(column((s) => storable(s.errorMessage))),
    textArray(column((s) => storable(s.responseExcerpt))),
    textArray(column((s) => (s.request === undefined ? null : storableJson(JSON.stringify(s.request))))),
    booleanArray(column((s) => s.keepAttempt && s.startedAt !== null)),
    booleanArray(column((s) => s.holdsLane)),
  ];
}

/** When an attempt began, by the database's clock: that of this host may be wrong by years. */
const ago = (alias: string) => `now() - make_interval(secs => ${alias}.age_ms / 1000)`;

const age = ({ startedAt }: Settlement) => (startedAt === null ? null : performance.now() - startedAt);

/**
 * For outcomes of which each is plain: the row goes and its history comes, and nothing else has to be looked at. A
 * delivery in the lane of nobody has no followers, so no lock is needed before the one of its deletion.
 */
const plainQuery = `
with input as (
  select * from unnest($2::bigint[], $3::bigint[], $4::float8[], $5::real[], $6::int[], $7::text[], $8::boolean[])
    as i(id, lease, age_ms, duration_ms, status, excerpt, keep)
),
gone as (
  delete from observers.deliveries d using input i where d.id = i.id and d.lease = i.lease
  returning d.id, d.event_id, d.event_uid, d.observer, d.action, d.destination, d.tenant, d.rule_version, d.replay_run, d.attempts + 1 as made,
            i.age_ms, i.duration_ms, i.status, i.excerpt, i.keep
),
history as (
  insert into observers.attempts
    (delivery_id, event_id, event_uid, observer, action, destination, tenant, attempt, started_at, duration_ms, outcome,
     status, response_excerpt, instance, rule_version, replay_run)
  select g.id, g.event_id, g.event_uid, g.observer, g.action, g.destination, g.tenant, g.made, ${ago('g')},
         g.duration_ms, 'delivered', g.status, g.excerpt, $1::uuid, g.rule_version, g.replay_run
  from gone g where g.keep
)
-- Which ones only when some are missing: a row for each would be read by us for nothing.
select case when count(*) < cardinality($2::bigint[]) then coalesce(array_agg(id::text), '{}') end as these from gone`;

async function settlePlain(
  connection: pg.Pool | pg.PoolClient,
  instance: string,
  settlements: readonly Settlement[],
): Promise<ReadonlySet<string>> {
  const digits = (value: (s: Settlement) => string | number | null) => digitsArray(settlements.map(value));
  const values = [
    instance,
    digits((s) => s.delivery.id),
    digits((s) => s.delivery.lease),
    digits(age),
    digits((s) => s.durationMs),
    digits((s) => s.status),
    textArray(settlements.map((s) => storable(s.responseExcerpt))),
    booleanArray(settlements.map((s) => s.keepAttempt)),
  ];
  const { rows } = await connection.query<{ these: string[] | null }>({
    name: 'settle_plain',
    text: plainQuery,
    values,
  });
  return new Set(rows[0]?.these ?? settlements.map((s) => s.delivery.id));
}

/** PostgreSQL text holds no U+0000 and no half of a surrogate pair, and what a receiver answers may. */
export function storable(text: string | null): string | null {
  return text === null ? null : text.toWellFormed().replaceAll('\u0000', '\uFFFD');
}

/** The same for jsonb. JSON.stringify writes U+0000 as an escape, and of surrogates those without their other half. */
export function storableJson(json: string): string {
  return json.replace(/\\u(0000|d[89a-f][0-9a-f]{2})/g, '\\ufffd');
}

/** A dead letter that is replayed leaves with success, and stays with its newest failure otherwise. */
const settleQuery = (more: string) => `
with input as (
  select * from unnest($2::bigint[], $3::bigint[], $4::text[], $5::float8[], $6::real[], $7::float8[], $8::text[], $9::int[],
                       $10::text[], $11::text[], $12::text[], $13::jsonb[], $14::boolean[], $15::boolean[])
    as i(id, lease, kind, age_ms, duration_ms, delay_ms, reason, status, error_class, error_message, excerpt, request, keep, holds)
),
held as materialized (
  select d.*, i.kind, ${ago('i')} as started_at, i.duration_ms, i.delay_ms, i.reason, i.status, i.error_class, i.error_message, i.excerpt,
         i.request, i.keep, i.kind = 'dead' and i.holds and d.ordering_key is not null as holds, d.attempts + (i.age_ms is not null)::int as made
  from input i join observers.deliveries d on d.id = i.id and d.lease = i.lease
  for update of d
),
again as (
  update observers.deliveries d
  -- A new lease here too: a batch whose answer was lost is written again, and must count its attempts once.
  set state = 'ready', claimed_by = null, lease = ${newLease}, attempts = h.made, last_error = h.error_message,
      due_at = now() + make_interval(secs => h.delay_ms / 1000)
  from held h where d.id = h.id and h.kind = 'retry'
),
finished as (delete from observers.deliveries d using held h where d.id = h.id and h.kind <> 'retry'),
history as (
  insert into observers.attempts
    (delivery_id, event_id, event_uid, observer, action, destination, tenant, attempt, started_at, duration_ms, outcome,
     status, error_class, error_message, response_excerpt, instance, rule_version, replay_run)
  select h.id, h.event_id, h.event_uid, h.observer, h.action, h.destination, h.tenant, h.made, h.started_at, h.duration_ms,
         h.kind, h.status, h.error_class, h.error_message, h.excerpt, $1::uuid, h.rule_version, h.replay_run
  from held h where h.keep
),
died as (
  insert into observers.dead_letters
    (event_id, event_uid, event, observer, action, destination, tenant, reason, error_class, error_message, http_status,
     response_excerpt, request, attempts, first_attempt_at, rule_version, ordering_key, holds_lane)
  select h.event_id, h.event_uid, case when e.id is null then jsonb_build_object('uid', h.event_uid) else observers.event_json(e) end,
         h.observer, h.action, h.destination, h.tenant, h.reason, h.error_class, h.error_message, h.status, h.excerpt, h.request,
         h.made, h.first_attempt_at, h.rule_version, h.ordering_key, h.holds
  from held h left join observers.events e on e.id = h.event_id and e.created_at = h.event_at
  where h.kind = 'dead' and h.dead_letter_id is null
),
died_again as (
  update observers.dead_letters k
  set reason = h.reason, error_class = h.error_class, error_message = h.error_message, http_status = h.status,
      response_excerpt = h.excerpt, request = coalesce(h.request, k.request), attempts = k.attempts + h.made, died_at = now()
  from held h where k.id = h.dead_letter_id and h.kind = 'dead'
),
revived as (delete from observers.dead_letters k using held h where k.id = h.dead_letter_id and h.kind = 'delivered')${more}
select id::text as id from held`;

/**
 * The head has left: the next of its lane becomes claimable, unless a dead letter holds the lane. Only the oldest that is
 * left may become the head: when followers are buried past a head that still waits for its retry, that one stays it.
 */
const laneSettling = `,
left_lane as (
  select destination, ordering_key, count(*) as n, bool_or(holds) as dies from held where ordering_key is not null and kind <> 'retry' group by 1, 2
),
shorter as (
  update observers.lanes l set pending = greatest(l.pending - g.n, 0), held = l.held or g.dies from left_lane g
  where l.destination = g.destination and l.ordering_key = g.ordering_key and (l.pending > g.n or l.held or g.dies)
),
empty as (
  delete from observers.lanes l using left_lane g
  where l.destination = g.destination and l.ordering_key = g.ordering_key and l.pending <= g.n
    and not l.held and not g.dies
),
promoted as (
  update observers.deliveries d set state = 'ready'
  from left_lane g
  join observers.lanes l on l.destination = g.destination and l.ordering_key = g.ordering_key and not l.held and not g.dies
  cross join lateral (
    select f.id from observers.deliveries f
    where f.destination = g.destination and f.ordering_key = g.ordering_key and f.id <> all (array(select id from held))
    order by f.id limit 1
  ) next
  where d.id = next.id and d.state = 'blocked'
)`;

interface Also {
  readonly lanes: boolean;
  readonly notes: boolean;
  readonly holds: boolean;
}

/** Most outcomes need none of these: a statement of its own for each case, prepared when it first comes up. */
function settleStatement({ lanes, notes, holds }: Also): { readonly name: string; readonly text: string } {
  const name = `settle${lanes ? '_lanes' : ''}${notes ? '_notes' : ''}${holds ? '_holds' : ''}`;
  const more = [lanes ? laneSettling : '', notes ? noteSettling : '', holds ? holdSettling(notes ? 19 : 16) : ''];
  return { name, text: settleQuery(more.join('')) };
}
