-- What an attempt leaves for later ones: the message that began a Slack thread, the recipients that have a mail already.
--
-- Not columns of the queue: those rows go with their outcome, while a thread outlives its deliveries, and what a dead letter's
-- replay must know has to wait for it. Written in the statement that settles the attempt, so that there is no outcome without
-- its note. Most deliveries have none, and cost nothing.
create table observers.notes (
  destination text        not null,
  key         text        not null,
  -- null: the delivery named below is about to leave it
  value       jsonb,
  delivery_id bigint,
  lease       bigint,
  -- of one delivery alone: kept for as long as its dead letter is
  event_uid   uuid,
  updated_at  timestamptz not null default now(),
  primary key (destination, key)
) with (fillfactor = 80);
create index notes_updated_at_idx on observers.notes (updated_at);
comment on table observers.notes is 'What attempts remember, per destination: threads, recipients that have their mail';

-- The note, or the right to leave it: while it is missing, one delivery at a time goes on, and for the others `busy` is true.
-- That right ends with the claim of the delivery, so nobody has to give it back: not a process that dies, either.
--
-- A function, because each of its statements sees what is committed when it begins. In one statement the claim would be
-- looked up in a snapshot from before the row lock was granted, and two could go on.
create function observers.open_note(destination text, key text, delivery_id bigint, lease bigint, out busy boolean, out value jsonb)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  note observers.notes;
begin
  busy := false;
  select * into note from observers.notes n where n.destination = open_note.destination and n.key = open_note.key;
  -- Most find one. It is touched now and then, so that retention sees that it is in use.
  if note.value is not null and note.updated_at > now() - interval '1 day' then
    value := note.value;
    return;
  end if;
  loop
    insert into observers.notes (destination, key, delivery_id, lease)
    values (open_note.destination, open_note.key, open_note.delivery_id, open_note.lease)
    on conflict do nothing;
    if found then
      return;
    end if;
    select * into note from observers.notes n
    where n.destination = open_note.destination and n.key = open_note.key for update;
    -- Not found: retention took it in between.
    exit when found;
  end loop;
  if note.value is null and (note.delivery_id, note.lease) <> (open_note.delivery_id, open_note.lease) and exists (
    select from observers.deliveries d where d.id = note.delivery_id and d.lease = note.lease and d.state = 'claimed'
  ) then
    busy := true;
    return;
  end if;
  update observers.notes n
  set updated_at = now(), delivery_id = open_note.delivery_id, lease = open_note.lease
  where n.destination = open_note.destination and n.key = open_note.key;
  value := note.value;
end
$$;
revoke all on function observers.open_note from public;
