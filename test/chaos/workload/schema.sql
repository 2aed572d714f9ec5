-- The tables that are written to, and the harness's own record of what committed.
create schema shop;
create table shop.orders (
  id bigint generated always as identity primary key,
  tenant text, status text not null, amount numeric(30, 10) not null, account bigint not null, note text,
  at timestamptz not null default clock_timestamp(), op bigint not null
);
create table shop.items (
  order_id bigint, line integer, label text, tags text[], op bigint not null,
  primary key (order_id, line)
);
create table shop.notes (
  id bigint generated always as identity primary key, tenant text, body text not null, op bigint not null
);

create schema chaos;
create sequence chaos.op cache 1;
create table chaos.committed (
  op bigint primary key, mark bigint not null, source text not null, operation text not null, key text, tenant text,
  old jsonb, new jsonb, payload jsonb
);
create table chaos.settled (
  n bigint generated always as identity primary key, event_uid uuid not null, observer text not null, action text not null, at timestamptz not null default clock_timestamp()
);
create function chaos.note_settled() returns trigger language plpgsql security definer as $$
begin
  insert into chaos.settled (event_uid, observer, action) select event_uid, observer, action from gone;
  return null;
end
$$;
