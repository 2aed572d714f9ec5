-- An instance learns from the database that it was taken for dead, and not from its own clock.
--
-- A heartbeat that sets out in time and arrives late (a connection that had to be made anew, a busy machine) found its
-- claims taken over without a word; the instance went on, and began deliveries that others had already made. Whoever takes
-- claims over says so in this row first, so that of a late heartbeat and a takeover one waits for the other.
--
-- A nullable column without a default: no table is rewritten.

alter table observers.instances add column declared_dead_at timestamptz;
comment on column observers.instances.declared_dead_at is 'Since then its claims belong to others, and it goes on under another id, if at all';
