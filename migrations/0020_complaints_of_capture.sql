-- Triggers that are missing, disabled or out of date are told here as well: `status` knew only why retention does not work.
comment on column observers.instances.complaints is 'What somebody must do something about (capture: …, retention: …), as housekeeping last found it; null: nothing';
