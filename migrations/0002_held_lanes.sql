-- Lanes that wait for their dead head (`order_by: { expression: …, on_dead: block }`).
--
-- A delivery of such a lane that dies holds its lane: what follows stays blocked until the dead letter leaves, however it
-- leaves: replayed with success, discarded by `dlq discard`, or by `delete from observers.dead_letters` in psql. So the
-- lane is freed by a trigger on that table and by nothing else.
--
-- Only adds columns with constant defaults, which rewrites no table; nothing that writers of observed tables touch.

alter table observers.dead_letters
  add column ordering_key text,
  add column holds_lane   boolean not null default false;
comment on column observers.dead_letters.holds_lane is 'The lane (destination, ordering_key) waits until this dead letter is replayed with success or discarded';

-- Beside `pending` in the row that routing and settling lock: looking into dead_letters instead would see what was there
-- before the lock was waited for.
alter table observers.lanes add column held boolean not null default false;

create index dead_letters_held_lane_idx on observers.dead_letters (destination, ordering_key) where holds_lane;
create index lanes_held_idx on observers.lanes (destination) where held;

-- Security definer: who may delete a dead letter need have no rights on lanes and deliveries.
create function observers.free_lane() returns trigger
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Null: of all of them.
  of_destination text;
  of_key         text;
  lane           observers.lanes;
begin
  if tg_op = 'DELETE' then
    of_destination := old.destination;
    of_key := old.ordering_key;
  end if;
  for lane in
    select * from observers.lanes l
    where l.held and (of_destination is null or (l.destination = of_destination and l.ordering_key = of_key))
    order by l.destination, l.ordering_key for update
  loop
    -- A statement of its own after the lock: it sees what the last holder of the lock did.
    continue when exists (
      select from observers.dead_letters d
      where d.holds_lane and d.destination = lane.destination and d.ordering_key = lane.ordering_key);
    if lane.pending = 0 then
      delete from observers.lanes l where l.destination = lane.destination and l.ordering_key = lane.ordering_key;
      continue;
    end if;
    update observers.lanes l set held = false where l.destination = lane.destination and l.ordering_key = lane.ordering_key;
    update observers.deliveries d set state = 'ready'
    where d.state = 'blocked' and d.id = (
      select f.id from observers.deliveries f
      where f.destination = lane.destination and f.ordering_key = lane.ordering_key order by f.id limit 1);
    perform pg_notify('pg_observers_wake', 'deliveries');
  end loop;
  return null;
end
$$;
revoke all on function observers.free_lane() from public;

create trigger free_lane after delete on observers.dead_letters
  for each row when (old.holds_lane) execute function observers.free_lane();
create trigger free_lanes after truncate on observers.dead_letters
  for each statement execute function observers.free_lane();

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
  (select count(*) from observers.lanes where held) as lanes_held;
