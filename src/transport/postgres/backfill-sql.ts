/** A chunk of existing rows as `read` events: images by the same SQL as the capture triggers make theirs. */

import type { TableSource } from '../../domain/rules.ts';
import { valuesSql } from './capture-rows-sql.ts';
import type { TableShape } from './catalog.ts';
import { qualified, quoteIdentifier, quoteLiteral } from './identifiers.ts';
import { fieldsSql } from './row-image-sql.ts';

/**
 * $1 the primary key of the last row as text[], unless it is the first chunk: a statement of its own, for no index serves an `or`.
 * By key and not by place in the
 * table: rows that move meanwhile are met once, and no chunk reads what another one did.
 *
 * Both conditions are SQL of whoever runs this; in parentheses of their own, each with its line break, for a comment may end it.
 */
export function chunkQuery(
  source: TableSource,
  table: TableShape,
  { condition, first, most }: { readonly condition: string | null; readonly first: boolean; readonly most: number },
): string {
  const { key, tenant, new: image } = valuesSql(source, 'insert', table, 'large');
  const columns = table.primaryKey.map(quoteIdentifier);
  const order = columns.map((column) => `pgo_t.${column}`).join(', ');
  const conditions = [
    ...(first ? [] : [`(${order}) > (${cursorSql(table)})`]),
    ...(condition === null ? [] : [`(${condition}\n)`]),
  ];
  return `
with n as materialized (
  select row_number() over () as pgo_rn, l.* from (
    select pgo_t as pgo_row, pgo_t.* from ${qualified(table.schema, table.name)} pgo_t
    ${conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`}
    order by ${order} limit ${Math.floor(most)}
  ) l
),
written as (
  insert into observers.events (source, operation, table_schema, table_name, key, tenant, new)
  select ${quoteLiteral(source.name)}, 'read', ${quoteLiteral(table.schema)}, ${quoteLiteral(table.name)}, ${key}, ${tenant}, ${image}
  from n ${source.where === null ? '' : matchingSql(source.where, table)}
  order by n.pgo_rn
  returning 1
)
select (select count(*)::int from n) as rows, (select count(*)::int from written) as events,
       (select array[${columns.map((column) => `n.${column}::text`).join(', ')}] from n order by pgo_rn desc limit 1) as last`;
}

/** As the trigger sees them when they are inserted. */
function matchingSql(where: string, table: TableShape): string {
  return `cross join lateral (select ${fieldsSql('n', table)}) as new
  left join lateral (select ${fieldsSql('n', table)}) as old on false
  where coalesce((select (${where}\n)::boolean from (select new.*) as pgo_row), false)`;
}

function cursorSql({ primaryKey, columns }: TableShape): string {
  const typeOf = (name: string) => columns.find((column) => column.name === name)?.type ?? 'text';
  return primaryKey.map((name, i) => `($1::text[])[${i + 1}]::${typeOf(name)}`).join(', ');
}
