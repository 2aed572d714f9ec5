-- How far the notifications of channel sources are recorded, so that an instance that takes over goes on exactly where
-- the one before it stopped.
--
-- All listeners of a database hear all notifications in one order. A mark is a notification of our own in that order,
-- numbered; (mark, how many notifications of the channel came after it) is a position that every instance which heard the
-- mark understands. Events and position are written by one statement.

-- The number of the newest mark. It is raised in the transaction that sends the mark: the row's lock, held until the
-- commit, makes the order of the numbers the order of the marks. A sequence would not.
create table observers.channel_marks (
  only_row boolean primary key default true check (only_row),
  mark     bigint  not null
) with (fillfactor = 50);
insert into observers.channel_marks (mark) values (0);

create table observers.channel_positions (
  channel    text        primary key,
  mark       bigint      not null,
  -- notifications of this channel after the mark that are recorded
  count      bigint      not null,
  -- compare and swap: whoever comes second on one version writes nothing
  version    bigint      not null default 0,
  -- the process that records the channel; null when it handed the place back
  recorder   uuid,
  updated_at timestamptz not null default now()
) with (fillfactor = 50);
comment on table observers.channel_positions is 'How far the notifications of each channel are recorded, and by whom';

-- Who could go on from where. Written together with the mark from which on a process hears, so that whoever sees a position
-- behind that mark also sees the row.
create table observers.channel_listeners (
  process uuid   not null,
  channel text   not null,
  -- it has in memory what was notified since this mark and is not recorded
  since   bigint not null,
  primary key (process, channel)
);
comment on table observers.channel_listeners is 'Since which mark each process hears each channel without a gap';
