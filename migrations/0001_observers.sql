-- The tables where the stages meet: events (log) → checkpoints → deliveries (queue) → attempts (history) | dead_letters.
--
-- Applied in one transaction under an advisory lock by `pg-observers apply`. Never edited once released: a later
-- migration changes what this one made.
--
-- Advisory locks, class 1885826914 ("pgob"): 1 migration, 2 routing, 3 router asleep, 4 housekeeping, 5 channel recording, 6 apply.

create schema if not exists observers;
comment on schema observers is 'pg-observers: captured changes, deliveries on their way, and what could not be delivered';

create table observers.migrations (
  version    integer     primary key,
  name       text        not null,
  checksum   text        not null,
  applied_at timestamptz not null default now()
);

------------------------------------------------------------------------------------------------------------- identity

-- A version 7 UUID (RFC 9562). `uid` needs no index of its own: its first 48 bits are milliseconds, and the index on
-- created_at finds them. Capture triggers make theirs in place, many at once.
create function observers.new_uid(at timestamptz) returns uuid
language sql volatile strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select (substr(ms, 1, 8) || '-' || substr(ms, 9, 4) || '-7' || substr(gen_random_uuid()::text, 16))::uuid
  from (select lpad(to_hex(trunc(extract(epoch from at) * 1000)::bigint), 12, '0')) as time(ms)
$$;

------------------------------------------------------------------------------------------------------------ the log

-- cache 1: ids of one session must grow in the order it writes, because for one row id order is causal order.
create sequence observers.events_id_seq as bigint cache 1;

-- Partitioned by the time of capture, a day each, so that retention drops tables and never deletes rows. Not by id:
-- "keep seven days" would then need a map from time to id, and a quiet table would never fill its range.
create table observers.events (
  id            bigint      not null default nextval('observers.events_id_seq'),
  uid           uuid        not null default observers.new_uid(clock_timestamp()),
  -- Top-level transaction id: what makes the log readable without gaps (see the reader in src/transport/postgres).
  xid           xid8        not null default pg_current_xact_id(),
  source        text        not null,
  operation     text        not null,
  table_schema  text,
  table_name    text,
  key           text,
  tenant        text,
  old           jsonb,
  new           jsonb,
  payload       jsonb,
  context       jsonb,
  dedupe_key    text,
  -- Set when the images could not be taken as configured (a column dropped since `apply`, say).
  capture_error text,
  -- clock_timestamp(), not now(): a transaction that began last week must not write into a dropped day.
  created_at    timestamptz not null default clock_timestamp(),
  primary key (id, created_at)
) partition by range (created_at);

alter sequence observers.events_id_seq owned by observers.events.id;
-- Enough for the reader's delta without a look at the rows. `id` is no key column, or the planner would take this index
-- for a look-up by id while a partition is empty, and keep that plan when it no longer is.
create index events_xid_idx on observers.events (xid) include (id, created_at);
create index events_created_at_idx on observers.events using brin (created_at) with (pages_per_range = 32);

comment on table observers.events is 'Append-only log of captured changes; a row exists if and only if its transaction committed';
comment on column observers.events.uid is 'Public identity of the event, never reused';

-- Catches what no day covers (no sidecar ran for a week, the clock jumped): a writer must never fail because of us.
create table observers.events_default partition of observers.events default;

create table observers.dedupe_keys (
  topic      text        not null,
  dedupe_key text        not null,
  event_uid  uuid        not null,
  created_at timestamptz not null default now(),
  primary key (topic, dedupe_key)
);
comment on table observers.dedupe_keys is 'Keys given to observers.emit: a second message with the same key is the same event';

----------------------------------------------------------------------------------------------------------- checkpoints

-- All events visible in `snapshot` are routed, and those of `target` up to and including `after_id`.
create table observers.checkpoints (
  consumer          text        primary key,
  snapshot          pg_snapshot not null,
  target            pg_snapshot,
  after_id          bigint      not null default 0,
  version           bigint      not null default 0,
  system_identifier bigint      not null,
  environment       text,
  updated_at        timestamptz not null default now(),
  check (target is not null or after_id = 0)
) with (fillfactor = 50);

insert into observers.checkpoints (consumer, snapshot, system_identifier)
select 'router', pg_current_snapshot(), system_identifier from pg_control_system();

------------------------------------------------------------------------------------------------------------- the queue

create table observers.deliveries (
  id               bigint      generated always as identity primary key,
  event_id         bigint      not null,
  event_at         timestamptz not null,
  event_uid        uuid        not null,
  observer         text        not null,
  action           text        not null,
  destination      text        not null,
  tenant           text,
  ordering_key     text,
  -- ready: claimable from due_at; claimed: belongs to claimed_by; blocked: waits behind the head of its lane
  state            text        not null check (state in ('ready', 'claimed', 'blocked')),
  attempts         integer     not null default 0,
  due_at           timestamptz not null default now(),
  claimed_by       uuid,
  -- A random number of the claim: only the holder of the newest may settle.
  lease            bigint      not null default 0,
  first_attempt_at timestamptz,
  last_error       text,
  rule_version     text        not null,
  dead_letter_id   bigint,
  created_at       timestamptz not null default now()
) with (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000
);
create index deliveries_ready_idx on observers.deliveries (destination, due_at, id) where state = 'ready';
create index deliveries_claimed_idx on observers.deliveries (claimed_by) where state = 'claimed';
create index deliveries_lane_idx on observers.deliveries (destination, ordering_key, id) where ordering_key is not null;
create unique index deliveries_dead_letter_idx on observers.deliveries (dead_letter_id) where dead_letter_id is not null;
create index deliveries_event_idx on observers.deliveries (event_id);
comment on table observers.deliveries is 'What is on its way: one row per (event, observer, action), gone when settled';

-- One row per (destination, ordering key) with anything pending. Its row lock orders routing against settling, so that
-- a follower can't be queued behind a head that just left.
create table observers.lanes (
  destination  text   not null,
  ordering_key text   not null,
  pending      bigint not null,
  primary key (destination, ordering_key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

create table observers.attempts (
  id               bigint      generated by default as identity,
  delivery_id      bigint      not null,
  event_id         bigint      not null,
  event_uid        uuid        not null,
  observer         text        not null,
  action           text        not null,
  destination      text        not null,
  tenant           text,
  attempt          integer     not null,
  started_at       timestamptz not null,
  duration_ms      real        not null,
  -- delivered | retry | rejected | fault
  outcome          text        not null,
  status           integer,
  error_class      text,
  error_message    text,
  response_excerpt text,
  instance         uuid,
  primary key (id, started_at)
) partition by range (started_at);
create index attempts_event_idx on observers.attempts (event_id);
create table observers.attempts_default partition of observers.attempts default;
comment on table observers.attempts is 'History: one row per attempt';

---------------------------------------------------------------------------------------------------------- dead letters

create table observers.dead_letters (
  id               bigint      generated always as identity primary key,
  event_id         bigint      not null,
  event_uid        uuid        not null,
  event            jsonb       not null,
  observer         text        not null,
  -- null when the observer's condition itself could not be evaluated
  action           text,
  destination      text,
  tenant           text,
  -- exhausted | rejected | engine_fault | rule_removed
  reason           text        not null,
  error_class      text,
  error_message    text,
  http_status      integer,
  response_excerpt text,
  request          jsonb,
  attempts         integer     not null default 0,
  first_attempt_at timestamptz,
  died_at          timestamptz not null default now(),
  rule_version     text        not null,
  replays          integer     not null default 0,
  last_replayed_at timestamptz
);
create index dead_letters_died_at_idx on observers.dead_letters (died_at);
create index dead_letters_event_idx on observers.dead_letters (event_uid);
comment on table observers.dead_letters is 'What could not be delivered, self-contained; leaves when replayed with success or discarded';

-- Events whose observers are to be decided again (replay of a condition that could not be evaluated).
create table observers.replays (
  id             bigint      generated always as identity primary key,
  dead_letter_id bigint      not null unique references observers.dead_letters on delete cascade,
  requested_at   timestamptz not null default now()
);

-------------------------------------------------------------------------------------------------------------- instances

create table observers.instances (
  id              uuid        primary key,
  started_at      timestamptz not null default now(),
  heartbeat_at    timestamptz not null default now(),
  host            text        not null,
  pid             integer     not null,
  version         text        not null,
  rules_version   text        not null,
  rules_loaded_at timestamptz not null default now(),
  routing         boolean     not null default false
) with (fillfactor = 50);
comment on table observers.instances is 'One row per running process; a claim of an instance whose heartbeat stopped is taken over';

-------------------------------------------------------------------------------------------- helpers of capture triggers

-- to_jsonb that can't fail the writer: json text that jsonb refuses (\u0000) or a value larger than `max_bytes` becomes
-- a marker. Only values that can fail are wrapped in it, since the exception block costs a subtransaction (without an
-- xid of its own, as nothing is written inside: writers' snapshots don't overflow).
create function observers.safe_jsonb(value anyelement, max_bytes integer) returns jsonb
language plpgsql stable strict
set search_path = pg_catalog, pg_temp
as $$
declare
  image jsonb;
  reason text;
begin
  begin
    image := to_jsonb(value);
    if pg_column_size(image) <= max_bytes then
      return image;
    end if;
    reason := format('%s bytes are more than an event keeps', pg_column_size(image));
  exception when others then
    reason := sqlerrm;
  end;
  return jsonb_build_object('$truncated', jsonb_build_object('type', pg_typeof(value)::text, 'reason', reason));
end
$$;

-- For rows that may be too large for jsonb: null when they are, or when a value of theirs can't be converted.
create function observers.jsonb_or_null(image record, max_bytes integer) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  whole jsonb;
begin
  whole := to_jsonb(image);
  return case when pg_column_size(whole) <= max_bytes then whole end;
exception when others then
  return null;
end
$$;

-- A whole row under an allow list of columns, when the generated trigger no longer fits the table.
create function observers.safe_image(image record, columns text[]) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  whole jsonb;
begin
  whole := to_jsonb(image);
  if columns is null then
    return whole;
  end if;
  return (select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(whole) where key = any (columns));
exception when others then
  return jsonb_build_object('$truncated', jsonb_build_object('reason', sqlerrm));
end
$$;

-- select set_config('observers.context', '{"user": "ada"}', true): kept with every event of the transaction.
create function observers.context() returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  written text := nullif(current_setting('observers.context', true), '');
begin
  if written is null then
    return null;
  end if;
  return written::jsonb;
exception when others then
  return jsonb_build_object('text', written);
end
$$;

-- The payload of a notification: JSON where it is, and a JSON string of what came where it is not.
create function observers.notification_payload(payload text) returns jsonb
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
begin
  return payload::jsonb;
exception when others then
  return to_jsonb(payload);
end
$$;

-- The wake-up protocol. A router that wants to sleep holds lock 3 exclusively; a writer that gets it shared has seen
-- the router awake, and then the router can't go to sleep before the writer's transaction has ended. So a busy system
-- never notifies: every notifying commit would take a lock on the whole cluster, held through its flush to disk.
create function observers.wake() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if not pg_try_advisory_xact_lock_shared(1885826914, 3) then
    perform pg_notify('pg_observers_wake', '');
  end if;
end
$$;

------------------------------------------------------------------------------------- for applications and people (psql)

create function observers.emit(
  topic text, payload jsonb default 'null', key text default null, tenant text default null, dedupe_key text default null
) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  at  timestamptz := clock_timestamp();
  uid uuid := observers.new_uid(at);
begin
  if coalesce(emit.topic, '') = '' then
    raise exception 'observers.emit: the topic is missing' using errcode = 'invalid_parameter_value';
  end if;
  if emit.dedupe_key is not null then
    insert into observers.dedupe_keys as d (topic, dedupe_key, event_uid) values (emit.topic, emit.dedupe_key, uid)
    on conflict do nothing;
    if not found then
      return (select d.event_uid from observers.dedupe_keys d where d.topic = emit.topic and d.dedupe_key = emit.dedupe_key);
    end if;
  end if;
  insert into observers.events (uid, source, operation, key, tenant, payload, context, dedupe_key, created_at)
  values (uid, emit.topic, 'emit', emit.key, emit.tenant, coalesce(emit.payload, 'null'), observers.context(), emit.dedupe_key, at);
  perform observers.wake();
  return uid;
end
$$;
comment on function observers.emit is 'Records a message for the sources of this topic, in the caller''s transaction; returns the event''s uid';

-- The event as it stands in a dead letter.
create function observers.event_json(event observers.events) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'uid', event.uid, 'source', event.source, 'operation', event.operation, 'schema', event.table_schema,
    'table', event.table_name, 'key', event.key, 'tenant', event.tenant, 'old', event.old, 'new', event.new,
    'payload', event.payload, 'context', event.context, 'at', event.created_at)
$$;

-- True when queued, false when a replay of it is already on its way. The row stays until the replay succeeds.
create function observers.replay(dead_letter_id bigint) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  dead observers.dead_letters;
begin
  -- The row lock makes two concurrent replays of one row take turns: the second finds the first one's delivery.
  select * into dead from observers.dead_letters d where d.id = replay.dead_letter_id for update;
  if not found then
    raise exception 'observers.replay: there is no dead letter %', replay.dead_letter_id
      using errcode = 'no_data_found', hint = 'It may have been replayed or discarded already: select * from observers.dead_letters.';
  end if;
  if dead.action is null then
    insert into observers.replays (dead_letter_id) values (dead.id) on conflict do nothing;
  else
    insert into observers.deliveries
      (event_id, event_at, event_uid, observer, action, destination, tenant, state, rule_version, dead_letter_id)
    values (dead.event_id, dead.died_at, dead.event_uid, dead.observer, dead.action, coalesce(dead.destination, ''),
            dead.tenant, 'ready', dead.rule_version, dead.id)
    on conflict do nothing;
  end if;
  if not found then
    return false;
  end if;
  update observers.dead_letters d set replays = d.replays + 1, last_replayed_at = now() where d.id = dead.id;
  perform pg_notify('pg_observers_wake', case when dead.action is null then 'replays' else 'deliveries' end);
  return true;
end
$$;
comment on function observers.replay is 'Queues a dead letter for another try; it leaves the table only when that succeeds';

-- For a database restored or copied into another cluster, where the transaction ids of the checkpoint mean nothing.
-- Everything in the log counts as routed, save the events with an id greater than `after_event`.
create function observers.reset_checkpoint(after_event bigint default null) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Taken before this transaction has an xid, so that what is stamped with that xid below counts as new.
  here pg_snapshot := pg_current_snapshot();
begin
  perform pg_advisory_xact_lock(1885826914, 1);
  update observers.events e
  set xid = case when e.id > reset_checkpoint.after_event then pg_current_xact_id() else '3'::xid8 end;
  update observers.checkpoints
  set snapshot = here, target = null, after_id = 0, version = version + 1, updated_at = now(),
      system_identifier = (select c.system_identifier from pg_control_system() c)
  where consumer = 'router';
end
$$;

create view observers.dead_letter_summary as
select observer, action, destination, reason, error_class, http_status,
       count(*) as dead_letters, min(died_at) as oldest, max(died_at) as newest, sum(replays)::bigint as replays
from observers.dead_letters
group by 1, 2, 3, 4, 5, 6;

create view observers.status as
select
  (select count(*) from observers.instances where heartbeat_at > now() - interval '30 seconds') as instances,
  (select count(*) from observers.deliveries) as deliveries_pending,
  (select count(*) from observers.deliveries where state = 'claimed') as deliveries_claimed,
  (select count(*) from observers.deliveries where state = 'blocked') as deliveries_blocked,
  (select count(*) from observers.deliveries where attempts > 0) as deliveries_retrying,
  (select min(created_at) from observers.deliveries) as oldest_delivery_at,
  (select count(*) from observers.dead_letters) as dead_letters,
  (select updated_at from observers.checkpoints where consumer = 'router') as checkpoint_at;

---------------------------------------------------------------------------------------------------------- housekeeping

-- Makes the partitions of the next days, today included. Attached, not created in place: `create table … partition of`
-- would lock out every writer while it waits for the longest of them; attaching does not conflict with inserts.
create function observers.ensure_partitions(days_ahead integer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  parent text;
  column_name text;
  day date;
  child text;
begin
  for parent, column_name in values ('events', 'created_at'), ('attempts', 'started_at') loop
    for day in select current_date + n from generate_series(0, days_ahead) n loop
      child := parent || '_' || to_char(day, 'YYYYMMDD');
      continue when to_regclass('observers.' || child) is not null;
      begin
        execute format('create table observers.%I (like observers.%I including defaults including constraints)', child, parent);
        execute format('alter table observers.%I attach partition observers.%I for values from (%L) to (%L)',
                       parent, child, day::timestamptz, (day + 1)::timestamptz);
      exception
        -- The default partition already holds rows of that day: they stay there, and so do its later ones.
        when check_violation then
          raise notice 'observers.% keeps the rows of %', parent || '_default', day;
      end;
    end loop;
  end loop;
end
$$;
select observers.ensure_partitions(3);

revoke all on all functions in schema observers from public;
