-- A writer must never fail because of us, and a NOTIFY into a full queue fails its commit.
--
-- The queue is one for the whole cluster, and fills when any listener of any database stays in a transaction. Above half of
-- it nobody is woken any more: the next poll finds the event. Asking costs microseconds, and only when the router sleeps.
create or replace function observers.wake() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if not pg_try_advisory_xact_lock_shared(1885826914, 3) and pg_notification_queue_usage() < 0.5 then
    perform pg_notify('pg_observers_wake', '');
  end if;
end
$$;
