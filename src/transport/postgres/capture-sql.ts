/**
 * The capture trigger functions, one per source and operation.
 *
 * The law of this file: whatever happens in here, the writer's transaction goes on. So a generated function first tries
 * its own expressions on no row, inside an exception block that writes nothing (such a block costs a few microseconds
 * and no xid; one around the INSERT would give every captured statement a subtransaction xid, and 64 of those in one
 * transaction slow down snapshots for the whole cluster). When the table has changed since `apply`, a column dropped
 * say, the rows are captured all the same, without the expressions, and marked with `capture_error`.
 */

import { createHash } from 'node:crypto';
import type { TableSource } from '../../domain/rules.ts';
import type { ColumnShape, TableShape } from './catalog.ts';
import { boundedName, qualified, quoteIdentifier, quoteLiteral } from './identifiers.ts';

export type CapturedOperation = TableSource['operations'][number];

export interface CaptureFunction {
  readonly source: string;
  readonly operation: CapturedOperation;
  /** Without the schema. */
  readonly name: string;
  readonly body: string;
  readonly sql: string;
}

/** More than this in one row, and its columns are capped one by one (jsonb ends at 255 MB, and bytea doubles as hex). */
const largeRowBytes = 64 * 1024 * 1024;
const cappedRowBytes = 128 * 1024 * 1024;

/** What a value looks like must not depend on the writer's session. */
const pinnedSettings = [
  'set search_path = pg_catalog, pg_temp',
  "set timezone = 'UTC'",
  "set datestyle = 'ISO, MDY'",
  "set intervalstyle = 'postgres'",
  "set bytea_output = 'hex'",
  'set extra_float_digits = 1',
  "set lc_monetary = 'C'",
  "set xmloption = 'content'",
].join('\n');

export function captureFunction(source: TableSource, operation: CapturedOperation, table: TableShape): CaptureFunction {
  const name = boundedName(`capture_${source.name}_${operation}`);
  const body = operation === 'truncate' ? truncateBody(source) : rowsBody(source, operation, table);
  const sql = `create or replace function ${qualified('observers', name)}() returns trigger
language plpgsql security definer
${pinnedSettings}
as $capture$${body}$capture$`;
  return { source: source.name, operation, name, body, sql };
}

export function captureTriggerName(source: string, operation: CapturedOperation): string {
  // Triggers fire in the order of their names: after the user's own, so that we see what they made of the row.
  return boundedName(`zz_pg_observers_${source}_${operation}`);
}

export function captureTriggerSql(
  source: TableSource,
  fn: CaptureFunction,
  relation: { schema: string; name: string },
): string {
  const transition = {
    insert: 'referencing new table as pgo_new_rows',
    update: 'referencing old table as pgo_old_rows new table as pgo_new_rows',
    delete: 'referencing old table as pgo_old_rows',
    truncate: '',
  }[fn.operation];
  const rowLevel = isRowLevel(source, fn.operation);
  const lines = [
    `create trigger ${quoteIdentifier(captureTriggerName(fn.source, fn.operation))}`,
    `after ${fn.operation} on ${qualified(relation.schema, relation.name)}`,
    ...(rowLevel || transition === '' ? [] : [transition]),
    `for each ${rowLevel ? 'row' : 'statement'} execute function ${qualified('observers', fn.name)}()`,
  ];
  return lines.join('\n');
}

/** Statement triggers never fire for rows that logical replication applies. */
export function isRowLevel(source: TableSource, operation: CapturedOperation): boolean {
  return source.replicated && operation !== 'truncate';
}

/** A query that fails exactly when the source's `where` is wrong; it reads no row. */
export function whereProbe(source: TableSource, table: TableShape): string {
  const rel = qualified(table.schema, table.name);
  return `select (select (${source.where}\n)::boolean from (select new.*) as pgo_row)
from (select * from ${rel} limit 0) as new left join ${rel} as old on false`;
}

function truncateBody(source: TableSource): string {
  return `
${header(source, 'truncate')}
begin
  insert into observers.events (source, operation, table_schema, table_name, context)
  values (${quoteLiteral(source.name)}, 'truncate', tg_table_schema, tg_table_name, observers.context());
  ${source.notify ? 'perform observers.wake();' : ''}
  return null;
end
`;
}

function rowsBody(source: TableSource, operation: 'insert' | 'update' | 'delete', table: TableShape): string {
  const rows = rowSource(source, operation, table);
  const subject = operation === 'delete' ? 'o.r' : 'n.r';
  const image = (row: 'n.r' | 'o.r') => imageSql(row, source, table);
  const values = {
    key: keySql(subject, table),
    tenant: source.tenant === null ? 'null::text' : `(${subject}).${quoteIdentifier(source.tenant)}::text`,
    old: operation === 'insert' ? 'null::jsonb' : image('o.r'),
    new: operation === 'delete' ? 'null::jsonb' : image('n.r'),
  };
  const filter = source.where === null ? '' : '\n    where rn = any (pgo_matching)';
  const unequal = operation === 'update' && table.family.length > 1 && table.primaryKey.length > 0;
  const insert = (from: string) => insertSql(source, operation, values, from, 'null', filter);
  return `
${header(source, operation)}
#variable_conflict use_column
declare
  pgo_at       timestamptz := clock_timestamp();
  pgo_prefix   text := observers.uid_prefix(pgo_at);
  pgo_context  jsonb := observers.context();
  pgo_fault    text;
  pgo_matching bigint[];
begin
  begin
    perform ${values.key}, ${values.tenant}, ${values.old}, ${values.new}
    from ${rows.paired} where false;${source.where === null ? '' : matchingSql(source.where, rows.paired)}
  exception when others then
    pgo_fault := sqlerrm;
  end;
  if pgo_fault is not null then
    ${faultSql(source, operation, table, rows.plain)}
  ${unequal ? unequalSql(insert(rows.pairedByKey)) : ''}else
    ${insert(rows.paired)};
  end if;
  ${source.notify ? 'if found then\n    perform observers.wake();\n  end if;' : '-- notify: false, so that writers may PREPARE TRANSACTION; the next poll finds the event'}
  return null;
end
`;
}

function header(source: TableSource, operation: CapturedOperation): string {
  const written = JSON.stringify([source.columns, source.where, source.tenant, source.notify, source.replicated]);
  const version = createHash('sha256').update(written).digest('hex').slice(0, 12);
  // A newline in a name would end the comment.
  return `-- pg-observers: source ${JSON.stringify(source.name)}, ${operation}, rule ${version}. Generated by apply: edit observers.yaml instead.`;
}

/** The rows as `n.r` and `o.r`, numbered in `rn`; transition tables keep old and new rows in the same order. */
function rowSource(source: TableSource, operation: 'insert' | 'update' | 'delete', table: TableShape) {
  const rowLevel = isRowLevel(source, operation);
  const record = (variable: 'new' | 'old') =>
    `(select ${table.columns.map((c) => `${variable}.${quoteIdentifier(c.name)} as ${quoteIdentifier(c.name)}`).join(', ')})`;
  const rowsOf = (image: 'new' | 'old') => (rowLevel ? record(image) : `pgo_${image}_rows`);
  const numbered = (image: 'new' | 'old', rows: string) =>
    `(select row_number() over () as rn, t as r from ${rows} t) ${image === 'new' ? 'n' : 'o'}`;
  const whole = (image: 'new' | 'old') => (rowLevel ? `(select 1::bigint as rn, ${image} as r)` : null);

  const from = (rows: (image: 'new' | 'old') => string): string => {
    if (operation === 'insert') return rows('new');
    if (operation === 'delete') return rows('old');
    // A full join: a row that lost its partner is still an event.
    return `${rows('old')} full join ${rows('new')} using (rn)`;
  };
  const key = (row: string) => `(${table.primaryKey.map((c) => `(${row}).${quoteIdentifier(c)}`).join(', ')})`;
  return {
    paired: from((image) => numbered(image, rowsOf(image))),
    /** Without the table's columns by name, for when they no longer fit. */
    plain: from((image) => (whole(image) === null ? numbered(image, rowsOf(image)) : `${whole(image)} ${image[0]}`)),
    pairedByKey:
      table.primaryKey.length === 0
        ? ''
        : `(select row_number() over () as rn, o.r as o_r, n.r as n_r from (select t as r from pgo_old_rows t) o
      full join (select t as r from pgo_new_rows t) n on ${key('o.r')} = ${key('n.r')}) p
      cross join lateral (select p.o_r as r) o cross join lateral (select p.n_r as r) n`,
  };
}

function insertSql(
  source: TableSource,
  operation: string,
  values: { key: string; tenant: string; old: string; new: string },
  from: string,
  fault: string,
  filter: string,
): string {
  return `insert into observers.events
      (uid, source, operation, table_schema, table_name, key, tenant, old, new, context, capture_error, created_at)
    select (pgo_prefix || substr(gen_random_uuid()::text, 16))::uuid, ${quoteLiteral(source.name)}, '${operation}',
           tg_table_schema, tg_table_name, ${values.key}, ${values.tenant}, ${values.old}, ${values.new},
           pgo_context, ${fault}, pgo_at
    from ${from}${filter}`;
}

/**
 * `where` runs here, apart from the INSERT, so that a division by zero in it can't fail the writer; what it keeps is a
 * list of row numbers, small even for a million rows. `new.x`, `old.x` and the bare column (of the new row, or of the
 * old one in a delete) all resolve: the innermost scope holds one row, the enclosing one both.
 */
function matchingSql(where: string, paired: string): string {
  const one = (alias: 'n' | 'o') => (new RegExp(`\\) ${alias}\\b`).test(paired) ? alias : null);
  const subject = one('n') === null ? 'old' : 'new';
  const scope = (name: 'new' | 'old', own: 'n' | 'o', other: 'n' | 'o') =>
    one(own) === null
      ? `left join lateral (select (${other}.r).*) as ${name} on false`
      : `cross join lateral (select (${own}.r).*) as ${name}`;
  return `
    select array_agg(rn) into pgo_matching
    from ${paired}
    ${scope('new', 'n', 'o')}
    ${scope('old', 'o', 'n')}
    where (select (${where}
    )::boolean from (select ${subject}.*) as pgo_row);`;
}

/**
 * Rows that an update moves between partitions can lose their partner (a BEFORE INSERT trigger of the target partition
 * may drop the new row), and numbers would then pair strangers: pair by key instead.
 */
function unequalSql(insert: string): string {
  return `elsif (select count(*) from pgo_old_rows) <> (select count(*) from pgo_new_rows) then
    ${insert};
  `;
}

function faultSql(
  source: TableSource,
  operation: 'insert' | 'update' | 'delete',
  table: TableShape,
  plain: string,
): string {
  const columns = source.columns === null ? 'null' : `array[${source.columns.map(quoteLiteral).join(', ')}]::text[]`;
  const subject = operation === 'delete' ? 'o.r' : 'n.r';
  const field = (column: string) =>
    `observers.safe_image(${subject}, array[${quoteLiteral(column)}]) ->> ${quoteLiteral(column)}`;
  const values = {
    key:
      table.primaryKey.length === 0
        ? 'null'
        : table.primaryKey.length === 1
          ? field(table.primaryKey[0] as string)
          : `jsonb_build_array(${table.primaryKey.map(field).join(', ')})::text`,
    tenant: source.tenant === null ? 'null' : field(source.tenant),
    old: operation === 'insert' ? 'null' : `observers.safe_image(o.r, ${columns})`,
    new: operation === 'delete' ? 'null' : `observers.safe_image(n.r, ${columns})`,
  };
  return `${insertSql(source, operation, values, plain, 'pgo_fault', '')};`;
}

function keySql(row: string, table: TableShape): string {
  const column = (name: string) => `(${row}).${quoteIdentifier(name)}::text`;
  if (table.primaryKey.length === 0) return 'null::text';
  if (table.primaryKey.length === 1) return column(table.primaryKey[0] as string);
  return `jsonb_build_array(${table.primaryKey.map(column).join(', ')})::text`;
}

/** A row as jsonb: the whole row where nothing speaks against it, so that columns added later come along by themselves. */
function imageSql(row: 'n.r' | 'o.r', source: TableSource, table: TableShape): string {
  const columns = table.columns.filter((c) => source.columns === null || source.columns.includes(c.name));
  const enumerate = source.columns !== null || columns.some((c) => c.mayRaise || c.virtualExpression !== null);
  const plain = enumerate ? objectSql(columns, (c) => columnSql(row, c)) : `to_jsonb(${row})`;
  const sized = columns.filter((c) => c.size !== 'bounded' && c.virtualExpression === null);
  // A row that lost its partner has no image at all, rather than one full of nulls.
  const image =
    sized.length === 0
      ? plain
      : `case when ${sized.map((c) => sizeSql(row, c)).join(' + ')} <= ${largeRowBytes} then ${plain} else ${cappedSql(row, columns)} end`;
  return `case when ${row} is distinct from null then ${image} end`;
}

function objectSql(columns: readonly ColumnShape[], value: (column: ColumnShape) => string): string {
  if (columns.length === 0) return "'{}'::jsonb";
  const fields = columns.map((c) => `${value(c)} as ${quoteIdentifier(c.name)}`).join(', ');
  // Not jsonb_build_object: a function takes 100 arguments, a table has up to 1,600 columns.
  return `(select to_jsonb(pgo_image) from (select ${fields}) as pgo_image)`;
}

function columnSql(row: string, column: ColumnShape): string {
  const value = `(${row}).${quoteIdentifier(column.name)}`;
  // Bare names in the expression find the row in the innermost scope.
  if (column.virtualExpression !== null)
    return `(select ${column.virtualExpression} from (select (${row}).*) as pgo_row)`;
  return column.mayRaise ? `observers.safe_jsonb(${value}, ${cappedRowBytes})` : value;
}

function cappedSql(row: string, columns: readonly ColumnShape[]): string {
  const each = Math.floor(cappedRowBytes / Math.max(1, columns.length));
  return objectSql(columns, (c) =>
    c.size === 'bounded' || c.virtualExpression !== null
      ? columnSql(row, c)
      : `observers.safe_jsonb((${row}).${quoteIdentifier(c.name)}, ${each})`,
  );
}

function sizeSql(row: string, column: ColumnShape): string {
  const value = `(${row}).${quoteIdentifier(column.name)}`;
  // octet_length reads the length from the TOAST pointer, not the value.
  return `coalesce(${column.size === 'octets' ? 'octet_length' : 'pg_column_size'}(${value})::bigint, 0)`;
}
