-- Observers in shadow mode: what they would have sent stands in the history of attempts, with its request and without a delivery,
-- and goes with its day. A table of its own would need partitions, rights and an archive of its own.
--
-- And the rule version of every attempt: of what was delivered, nothing else remembers under which rules. Nothing is rewritten;
-- the index is partial, so that other attempts don't pay for it, but making it reads the history once (a second for some
-- million attempts, in which outcomes wait; no writer of the observed tables does).
alter table observers.attempts
  add column rule_version text,
  add column request jsonb,
  alter column delivery_id drop not null;
create index attempts_shadow_idx on observers.attempts (observer, started_at) where outcome = 'shadow';
comment on column observers.attempts.outcome is 'delivered | retry | dead | shadow (not sent: its observer is in shadow mode)';
comment on column observers.attempts.request is 'Only of a shadow: what would have been sent, without secrets';
