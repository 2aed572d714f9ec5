import type pg from 'pg';

/** A table that somebody may want to observe. */
export interface SurveyedTable {
  readonly schema: string;
  readonly name: string;
  readonly partitioned: boolean;
  /** In the order of the table. */
  readonly columns: readonly string[];
  /** In key order; empty without one. */
  readonly primaryKey: readonly string[];
}

/**
 * A partition and a child of another table are captured with their parent. What an extension brought, or has in a schema of its own, is
 * its business.
 */
const surveyQuery = `
select n.nspname as schema, c.relname as name, c.relkind = 'p' as partitioned,
  array(select a.attname::text from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as columns,
  array(select a.attname::text
        from pg_index i
        cross join lateral unnest(i.indkey) with ordinality as k(attnum, ordinality)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
        where i.indrelid = c.oid and i.indisprimary order by k.ordinality) as "primaryKey"
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and c.relpersistence <> 't'
  and n.nspname not in ('information_schema', 'observers') and n.nspname !~ '^pg_'
  and not exists (select from pg_inherits i where i.inhrelid = c.oid)
  and not exists (select from pg_depend d where d.deptype = 'e'
                  and ((d.classid = 'pg_class'::regclass and d.objid = c.oid) or (d.classid = 'pg_namespace'::regclass and d.objid = n.oid)))
order by n.nspname <> 'public', n.nspname, c.relname
limit $1`;

/** The tables of applications, those of `public` first. Reads the catalog only, so no right on any table is needed. */
export async function surveyTables(pool: pg.Pool, limit = 1000): Promise<readonly SurveyedTable[]> {
  return (await pool.query<SurveyedTable>(surveyQuery, [limit])).rows;
}
