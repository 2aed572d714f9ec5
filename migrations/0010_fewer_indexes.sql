-- The queue's index by event cost every delivery three entries (queued, claimed, and the cleaning up of both): 140 bytes
-- of WAL, a tenth of all that a delivery writes. Who asks for the deliveries of one event is a person, who can wait for a
-- look through the queue.
drop index observers.deliveries_event_idx;
