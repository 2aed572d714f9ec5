-- Destinations that are sent nothing: disabled by a receiver that wants no more, or by a person; or paused for as long as a
-- receiver asked for. In a table and not in a process, because it holds for every instance and survives them all. A row only
-- for a destination that was ever held: what has none is enabled.
--
-- Not a column of the queue: what waits stays as it is, however much it is, and goes on in its order.
create table observers.destinations (
  name            text        primary key,
  disabled_at     timestamptz,
  -- person | receiver
  disabled_by     text        check (disabled_by in ('person', 'receiver')),
  disabled_reason text,
  paused_until    timestamptz,
  check ((disabled_at is null) = (disabled_by is null))
);
comment on table observers.destinations is 'Destinations that are disabled, or paused by their receiver; others have no row, or an old one';

-- Whoever writes it, also by hand in psql: all instances look at once. Like every wake-up a hint, for they look with each
-- heartbeat; and never into a full queue, which would fail the writer's commit.
create function observers.destinations_changed() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_notification_queue_usage() < 0.5 then
    perform pg_notify('pg_observers_wake', 'destinations');
  end if;
  return null;
end
$$;
revoke all on function observers.destinations_changed from public;
create trigger changed after insert or update or delete on observers.destinations
  for each statement execute function observers.destinations_changed();

create or replace view observers.status as
with size as materialized (
  select greatest(1, c.reltuples / 100000)::float8 as scale from pg_class c where c.oid = 'observers.deliveries'::regclass
),
sampled as materialized (
  select count(*) as pending, count(*) filter (where state = 'blocked') as blocked, count(*) filter (where attempts > 0) as retrying
  from observers.deliveries tablesample system ((select 100 / scale from size))
)
select
  (select count(*) from observers.instances where heartbeat_at > now() - interval '30 seconds') as instances,
  (select round(pending * scale)::bigint from sampled, size) as deliveries_pending,
  (select count(*) from observers.deliveries where state = 'claimed') as deliveries_claimed,
  (select round(blocked * scale)::bigint from sampled, size) as deliveries_blocked,
  (select round(retrying * scale)::bigint from sampled, size) as deliveries_retrying,
  (select created_at from observers.deliveries order by id limit 1) as oldest_delivery_at,
  (select count(*) from observers.dead_letters) as dead_letters,
  (select updated_at from observers.checkpoints where consumer = 'router') as checkpoint_at,
  (select count(*) from observers.lanes where held) as lanes_held,
  (select host || ' ' || pid from observers.instance_status where routing order by heartbeat_at desc limit 1) as router,
  (select jsonb_object_agg(channel, i.host || ' ' || i.pid)
   from observers.instance_status i, unnest(i.records) channel) as channel_recorders,
  (select max(housekept_at) from observers.instances) as housekept_at,
  (select array_agg(name order by name) from observers.destinations where disabled_at is not null) as destinations_disabled,
  (select array_agg(name order by name) from observers.destinations where disabled_at is null and paused_until > now()) as destinations_paused;
