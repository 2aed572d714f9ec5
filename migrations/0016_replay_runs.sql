-- Runs of `pg-observers replay`: what was asked for and how far it is, so that one that is interrupted goes on where it stopped.
-- Its cursor moves in the statement that queues the deliveries, by compare-and-swap on `version`, as the checkpoint does; so
-- nothing is queued twice or left out, whatever dies. What a run reads stands still: it keeps the checkpoint of its beginning,
-- and events that were not routed by then are none of its business.
--
-- The mark on deliveries and attempts says that they are of a replay. Null for all there are: nothing is rewritten.
create table observers.replay_runs (
  id                bigint           generated always as identity primary key,
  since             timestamptz      not null,
  until             timestamptz      not null,
  observers         text[]           not null,
  -- An expression over the event: only those for which it is true.
  condition         text,
  per_second        double precision,
  snapshot          pg_snapshot      not null,
  target            pg_snapshot,
  up_to_id          bigint           not null,
  system_identifier bigint           not null,
  after_id          bigint           not null default 0,
  version           bigint           not null default 0,
  events            bigint           not null default 0,
  deliveries        bigint           not null default 0,
  faults            bigint           not null default 0,
  started_at        timestamptz      not null default now(),
  updated_at        timestamptz      not null default now(),
  finished_at       timestamptz
);
comment on table observers.replay_runs is 'Runs of `pg-observers replay`, and how far each is';

alter table observers.deliveries add column replay_run bigint;
alter table observers.attempts add column replay_run bigint;
comment on column observers.deliveries.replay_run is 'The run of `pg-observers replay` that queued it';
comment on column observers.attempts.replay_run is 'The run of `pg-observers replay` that queued its delivery';
