-- observers.status counted the queue in five scans: seconds with two million deliveries, and people look at it when the
-- queue is long. Up to 100,000 the numbers are exact; beyond that they are estimated from a sample of about that many rows
-- (TABLESAMPLE SYSTEM reads whole pages, and only those) and the size that autovacuum knows. Claims are few and have an
-- index, so they are counted; ids grow with time, so the first one is the oldest.
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
  (select max(housekept_at) from observers.instances) as housekept_at;
