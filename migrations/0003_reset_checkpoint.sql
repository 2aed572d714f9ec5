-- observers.reset_checkpoint without rewriting the log.
--
-- It used to stamp every event with a new transaction id, so that "after event 7" could be said by a snapshot. The checkpoint
-- can say it itself: nothing is routed in the snapshot, and of the target everything up to that id. Left to rewrite are only
-- events whose transaction ids come from another cluster and have not been reached here: those would be taken for new ones
-- some day. 4 lies behind every snapshot of any cluster, and not behind the snapshot 4:4 that stands for "nothing is routed".
-- (3 stays what it was: an event that came back from a dead letter, and is routed for good.)
create or replace function observers.reset_checkpoint(after_event bigint default null) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Taken before this transaction has an xid.
  here pg_snapshot := pg_current_snapshot();
begin
  perform pg_advisory_xact_lock(1885826914, 1);
  -- Seen by this statement, and yet of a transaction that by its number has not ended: of another cluster. The snapshot is the
  -- statement's own, so that what commits in between is not taken for foreign.
  update observers.events e set xid = '4'
  where e.xid >= pg_snapshot_xmin(pg_current_snapshot()) and not pg_visible_in_snapshot(e.xid, pg_current_snapshot())
    and e.xid <> pg_current_xact_id();
  update observers.checkpoints
  set snapshot = case when after_event is null then here else '4:4:' end,
      target = case when after_event is not null then here end,
      after_id = coalesce(after_event, 0),
      version = version + 1, updated_at = now(),
      system_identifier = (select c.system_identifier from pg_control_system() c)
  where consumer = 'router';
  -- A router that sleeps must not go on from where it was.
  perform pg_notify('pg_observers_wake', '');
end
$$;
