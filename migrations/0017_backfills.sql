-- How far the existing rows of a source have become events (`pg-observers backfill`): a cursor on the primary key, which moves in the
-- transaction that writes the events of a chunk. One row per source: two backfills of one table at the same time are a mistake.
create table observers.backfills (
  source       text             primary key,
  table_schema text             not null,
  table_name   text             not null,
  -- SQL over the columns: only those rows.
  condition    text,
  primary_key  text[]           not null,
  per_second   double precision,
  -- The primary key of the last row, as text; null: none yet.
  cursor       text[],
  version      bigint           not null default 0,
  rows         bigint           not null default 0,
  events       bigint           not null default 0,
  -- From the statistics of the table when it began.
  estimate     bigint           not null,
  started_at   timestamptz      not null default now(),
  updated_at   timestamptz      not null default now(),
  finished_at  timestamptz
);
comment on table observers.backfills is 'The last backfill of each source, and how far it is';
