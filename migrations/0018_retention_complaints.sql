-- What keeps an instance from keeping the log as its settings say (the archive can't be written, the log is too large and
-- nothing may go), so that `status` can tell without asking the instance. Written once a minute, when it has changed.
alter table observers.instances add column complaints text[];
comment on column observers.instances.complaints is 'What somebody must do something about, as retention last found it; null: nothing';
