-- What `pg-observers events search` looks for words in. Functions, so that an index (`events index create`) can be on them, and immutable
-- for the same reason. Nothing calls them unless somebody searches or has made that index; then they must not fail a writer, and so
-- they never raise: a text that is too large for the search (1 MB of words) has none.
create function observers.event_words(old jsonb, new jsonb, payload jsonb, key text) returns tsvector
language plpgsql immutable parallel safe cost 1000
set search_path = pg_catalog, pg_temp
-- "word is too long to be indexed" is not what a writer wants to read.
set client_min_messages = warning
as $$
begin
  return jsonb_to_tsvector('simple', coalesce(new, 'null'), '["string", "numeric"]')
      || jsonb_to_tsvector('simple', coalesce(old, 'null'), '["string", "numeric"]')
      || jsonb_to_tsvector('simple', coalesce(payload, 'null'), '["string", "numeric"]')
      || to_tsvector('simple', coalesce(key, ''));
exception when others then
  return ''::tsvector;
end
$$;

create function observers.attempt_words(error_message text, response_excerpt text) returns tsvector
language plpgsql immutable parallel safe cost 1000
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
begin
  return to_tsvector('simple', coalesce(error_message, '')) || to_tsvector('simple', coalesce(response_excerpt, ''));
exception when others then
  return ''::tsvector;
end
$$;
