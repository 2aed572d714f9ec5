-- Tenants of a destination take turns: a claim goes from tenant to tenant by one of these indexes, a descent for each, however
-- many rows a tenant has waiting. What has no tenant has the other one, and every row is in one of them only, so a delivery
-- costs what it did.
--
-- Together they replace deliveries_ready_idx. The version before, which claims by that one, goes on without it: correctly,
-- and as slowly as a look through the queue is.
create index deliveries_turn_idx on observers.deliveries (destination, tenant, due_at, id) where state = 'ready' and tenant is not null;
create index deliveries_due_idx on observers.deliveries (destination, due_at, id) where state = 'ready' and tenant is null;
drop index observers.deliveries_ready_idx;
