-- Capture triggers ask before anything else whether their table still has the columns they were generated for. Reading
-- the catalog for it was a fifth of what a captured single-row statement costs.

-- The columns of the table of this (quoted) name as they are now, each as `name oid-of-type`, sorted by the bytes of its
-- name. Asks the parser and not pg_attribute, because that would be read with the snapshot of the transaction, and a
-- repeatable read one may have begun before the table was altered.
create function observers.columns_of(name text) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  empty record;
  columns text[];
begin
  execute format('select (null::%s).*', name) into empty;
  execute format('select array[%s]::text[]', (
    select string_agg(format('%L || pg_typeof((null::%s).%I)::oid', c || ' ', name, c), ', ' order by c collate "C")
    from jsonb_object_keys(to_jsonb(empty)) as c)) into columns;
  return columns;
end
$$;

-- The oid of the table of this name when it has exactly these columns; else null.
--
-- Not immutable in truth, and declared so on purpose: the planner then computes it once, and keeps the answer with the
-- plan, which PostgreSQL throws away when a table it reads is altered or renamed. So it may only be called in a statement
-- that reads the transition rows of that table.
create function observers.table_with_columns(name text, expected text[]) returns oid
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when observers.columns_of(name) = expected then to_regclass(name) end;
exception when others then
  -- Not there any more, say: the trigger then looks for itself.
  return null;
end
$$;
revoke all on function observers.columns_of, observers.table_with_columns from public;

-- Capture functions now pin the settings that their columns' types need, no others. What was added since is converted in here.
alter function observers.safe_image(record, text[]) set timezone = 'UTC';
alter function observers.safe_image(record, text[]) set datestyle = 'ISO, MDY';
alter function observers.safe_image(record, text[]) set intervalstyle = 'postgres';
alter function observers.safe_image(record, text[]) set bytea_output = 'hex';
alter function observers.safe_image(record, text[]) set extra_float_digits = '1';
alter function observers.safe_image(record, text[]) set lc_monetary = 'C';
alter function observers.safe_image(record, text[]) set xmloption = 'content';
alter function observers.safe_image(record, text[]) set quote_all_identifiers = 'off';
