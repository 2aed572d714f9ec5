import type pg from 'pg';

/** What capture must know of a table to write its triggers. */
export interface TableShape {
  /** oid, as digits. */
  readonly oid: string;
  readonly schema: string;
  readonly name: string;
  /** r: table, p: partitioned table; anything else can't be captured. */
  readonly kind: string;
  /** In the order of the table. */
  readonly columns: readonly ColumnShape[];
  /** `name oid-of-type` of all columns in the byte order of names: as a trigger can see cheaply whether they are still so. */
  readonly signature: readonly string[];
  /** Primary key columns in key order; empty without one. */
  readonly primaryKey: readonly string[];
  /** The table itself and all partitions and inheritance children, since a statement fires the triggers of the table it names. */
  readonly family: readonly Relation[];
}

export interface Relation {
  readonly oid: string;
  readonly schema: string;
  readonly name: string;
}

export interface ColumnShape {
  readonly name: string;
  readonly type: string;
  /** The type holds json somewhere (or may come to: a composite), or is not built in: `to_jsonb` may raise on a value of it. */
  readonly mayRaise: boolean;
  /** Bytes of a value can be known without reading it out of line, or the type is bounded. */
  readonly size: 'bounded' | 'octets' | 'stored';
  /** PostgreSQL 18: computed on read, arrives null in a trigger; the expression recomputes it. */
  readonly virtualExpression: string | null;
}

const shapeQuery = `
with recursive
  rel as (
    select c.oid, n.nspname as schema, c.relname as name, c.relkind as kind
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = $2
  ),
  family(oid) as (
    select oid from rel
    union
    select i.inhrelid from pg_inherits i join family f on i.inhparent = f.oid
  ),
  attribute as (
    select a.attnum, a.attname, a.atttypid, a.atttypmod, a.attgenerated,
           case when a.attgenerated = 'v' then pg_get_expr(d.adbin, d.adrelid) end as expression
    from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = (select oid from rel) and a.attnum > 0 and not a.attisdropped
  ),
  -- every type that a column's type is made of: domain base, array element, composite attributes, range bounds
  part(attnum, type) as (
    select attnum, atttypid from attribute
    union
    select p.attnum, x.type
    from part p
    join pg_type t on t.oid = p.type
    cross join lateral (
      select nullif(t.typbasetype, 0) as type
      union all select nullif(t.typelem, 0) where t.typcategory = 'A'
      union all select ra.atttypid from pg_attribute ra where ra.attrelid = t.typrelid and ra.attnum > 0 and not ra.attisdropped
      union all select r.rngsubtype from pg_range r where r.rngtypid = t.oid or r.rngmultitypid = t.oid
    ) x
    where x.type is not null
  )
select rel.oid::text, rel.schema, rel.name, rel.kind,
  coalesce((
    select json_agg(json_build_object(
      'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'virtualExpression', a.expression,
      'mayRaise', exists (
        select from part p join pg_type t on t.oid = p.type
        where p.attnum = a.attnum and (t.oid = 'json'::regtype or t.typtype = 'c' or (t.typtype = 'b' and t.typcategory <> 'A' and t.oid >= 16384)
               or exists (select from pg_cast pc where pc.castsource = t.oid and pc.casttarget = 'json'::regtype))),
      'size', case
        when a.atttypid = any ('{text,bytea}'::regtype[]) or (a.atttypid = any ('{varchar,bpchar}'::regtype[]) and a.atttypmod < 0) then 'octets'
        when ty.typlen = -1 and a.atttypid <> all ('{varchar,bpchar,numeric,bit,varbit,inet,cidr,int4range,int8range,tsrange,tstzrange,daterange}'::regtype[]) then 'stored'
        else 'bounded' end
      ) order by a.attnum)
    from attribute a join pg_type ty on ty.oid = a.atttypid), '[]') as columns,
  array(select a.attname || ' ' || a.atttypid from attribute a order by a.attname) as signature,
  coalesce((
    select json_agg(a.attname order by k.ordinality)
    from pg_index i
    cross join lateral unnest(i.indkey) with ordinality as k(attnum, ordinality)
    join attribute a on a.attnum = k.attnum
    where i.indrelid = rel.oid and i.indisprimary), '[]') as "primaryKey",
  (select json_agg(json_build_object('oid', c.oid::text, 'schema', n.nspname, 'name', c.relname) order by c.oid <> rel.oid, n.nspname, c.relname)
   from family f join pg_class c on c.oid = f.oid join pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p')) as family
from rel`;

/** The shape of a table, or null when there is none of that name. */
export async function readTableShape(client: pg.ClientBase, schema: string, table: string): Promise<TableShape | null> {
  const { rows } = await client.query<TableShape>(shapeQuery, [schema, table]);
  const shape = rows[0];
  return shape === undefined ? null : { ...shape, family: shape.family ?? [] };
}

/** Names of tables that can be captured, for "did you mean …?". */
export async function readTableNames(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema', 'observers') and n.nspname !~ '^pg_'
     order by 1 limit 5000`,
  );
  return rows.map((row) => row.name);
}

export interface InstalledFunction {
  readonly name: string;
  /** As PostgreSQL prints it back. */
  readonly body: string;
  readonly securityDefiner: boolean;
  /** Any role that may use the schema can attach it to a table of its own. */
  readonly executableByPublic: boolean;
  /** `name=value`. */
  readonly settings: readonly string[];
}

export interface InstalledTrigger {
  /** oid of the table, as digits. */
  readonly relation: string;
  readonly schema: string;
  readonly table: string;
  readonly name: string;
  readonly functionName: string;
  /** O: enabled, A: also under replication, D: disabled, R: replica only. */
  readonly enabled: string;
  readonly rowLevel: boolean;
  /** Made by PostgreSQL for a partition, from its parent's. */
  readonly clone: boolean;
}

/** Capture functions and the triggers that call them, recognised by the functions' name, not by the triggers'. */
export async function readInstalled(
  client: pg.ClientBase,
): Promise<{ functions: InstalledFunction[]; triggers: InstalledTrigger[] }> {
  const functions = await client.query<InstalledFunction>(
    `select p.proname as name, p.prosrc as body, p.prosecdef as "securityDefiner", coalesce(p.proconfig, '{}') as settings,
            has_function_privilege('public', p.oid, 'execute') as "executableByPublic"
     from pg_proc p join pg_namespace n on n.oid = p.pronamespace
     where n.nspname = 'observers' and p.proname like 'capture\\_%' order by 1`,
  );
  const triggers = await client.query<InstalledTrigger>(
    `select t.tgrelid::text as relation, cn.nspname as schema, c.relname as "table", t.tgname as name,
            p.proname as "functionName", t.tgenabled as enabled, (t.tgtype & 1) = 1 as "rowLevel", t.tgparentid <> 0 as clone
     from pg_trigger t
     join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
     join pg_class c on c.oid = t.tgrelid join pg_namespace cn on cn.oid = c.relnamespace
     where n.nspname = 'observers' and p.proname like 'capture\\_%' and not t.tgisinternal
     order by 2, 3, 4`,
  );
  return { functions: functions.rows, triggers: triggers.rows };
}
