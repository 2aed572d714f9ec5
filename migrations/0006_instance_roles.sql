-- Who does what. `process` stays the same when an instance begins a new life under a new id, and its sessions carry it in
-- their application_name: others can end the sessions of a process that fell silent, which would else keep its places.
alter table observers.instances add column process uuid;
alter table observers.instances add column housekept_at timestamptz;

create view observers.instance_status as
select i.id, i.host, i.pid, i.version, i.rules_version, i.started_at, i.heartbeat_at,
       extract(epoch from now() - i.heartbeat_at)::float8 * 1000 as silent_ms,
       -- The lock decides: a killed router's row says for a while that it routes.
       i.routing and exists (
         select from pg_locks l
         where l.locktype = 'advisory' and l.classid = 1885826914 and l.objid = 2 and l.granted
           and l.database = (select d.oid from pg_database d where d.datname = current_database())) as routing,
       array(select p.channel from observers.channel_positions p where p.recorder = i.process order by 1) as records,
       (select count(*) from observers.deliveries d where d.state = 'claimed' and d.claimed_by = i.id)::int as claimed,
       i.housekept_at
from observers.instances i;
comment on view observers.instance_status is 'One row per running process: what it does, and since when it is silent';

create or replace view observers.status as
select
  (select count(*) from observers.instances where heartbeat_at > now() - interval '30 seconds') as instances,
  (select count(*) from observers.deliveries) as deliveries_pending,
  (select count(*) from observers.deliveries where state = 'claimed') as deliveries_claimed,
  (select count(*) from observers.deliveries where state = 'blocked') as deliveries_blocked,
  (select count(*) from observers.deliveries where attempts > 0) as deliveries_retrying,
  (select min(created_at) from observers.deliveries) as oldest_delivery_at,
  (select count(*) from observers.dead_letters) as dead_letters,
  (select updated_at from observers.checkpoints where consumer = 'router') as checkpoint_at,
  (select count(*) from observers.lanes where held) as lanes_held,
  (select host || ' ' || pid from observers.instance_status where routing order by heartbeat_at desc limit 1) as router,
  (select jsonb_object_agg(channel, i.host || ' ' || i.pid)
   from observers.instance_status i, unnest(i.records) channel) as channel_recorders,
  (select max(housekept_at) from observers.instances) as housekept_at;
