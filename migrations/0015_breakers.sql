-- Which circuit breakers of each process are not closed, for people who look at all of them. Written with the heartbeat, which
-- writes the row anyway; null: all are closed.
alter table observers.instances add column breakers jsonb;
comment on column observers.instances.breakers is 'Circuit breakers that are not closed: [{destination, tenant, state}], 100 at most';

create or replace view observers.instance_status as
select i.id, i.host, i.pid, i.version, i.rules_version, i.started_at, i.heartbeat_at,
       extract(epoch from now() - i.heartbeat_at)::float8 * 1000 as silent_ms,
       -- The lock decides: a killed router's row says for a while that it routes.
       i.routing and exists (
         select from pg_locks l
         where l.locktype = 'advisory' and l.classid = 1885826914 and l.objid = 2 and l.granted
           and l.database = (select d.oid from pg_database d where d.datname = current_database())) as routing,
       array(select p.channel from observers.channel_positions p where p.recorder = i.process order by 1) as records,
       (select count(*) from observers.deliveries d where d.state = 'claimed' and d.claimed_by = i.id)::int as claimed,
       i.housekept_at,
       coalesce(i.breakers, '[]') as breakers
from observers.instances i;
