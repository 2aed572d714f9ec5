/** A row as jsonb: exact where that is possible, capped where PostgreSQL would refuse and so fail the writer. */

import type { TableSource } from '../../domain/rules.ts';
import type { ColumnShape, TableShape } from './catalog.ts';
import { quoteIdentifier } from './identifiers.ts';

/** More than this in one row, and it is converted with care: jsonb ends at 255 MB, and bytea doubles as hex. */
const largeRowBytes = 64 * 1024 * 1024;
/** An image larger than this loses its largest values. */
const largestImageBytes = 128 * 1024 * 1024;
/** What is stored compressed (pglz, lz4) may be that many times larger when read. */
const largestCompressionRatio = 256;

/**
 * The whole row where nothing speaks against it: that is the cheapest.
 *
 * @param row alias of a FROM item that has the columns, and the row as a whole in `pgo_row`
 * @param large false for rows of which `isSmallSql` is true
 */
export function imageSql(row: string, source: TableSource, table: TableShape, large: boolean): string {
  const columns = imageColumns(source, table);
  const enumerate = source.columns !== null || columns.some((c) => c.virtualExpression !== null);
  const record = enumerate ? recordSql(columns, (c) => valueSql(row, c, table)) : `${row}.pgo_row`;
  if (!large && !columns.some((c) => c.mayRaise)) return `to_jsonb(${record})`;
  return `coalesce(observers.jsonb_or_null(${record}, ${largestImageBytes}), to_jsonb(${cappedSql(row, columns, table)}))`;
}

/**
 * Whether a row can be converted without care; null when that is no question. A condition of the statement and not a CASE
 * around the image, because every execution would prepare both of its branches, and that of large rows is long.
 */
export function isSmallSql(row: string, source: TableSource, table: TableShape): string | null {
  const columns = imageColumns(source, table);
  if (columns.some((c) => c.mayRaise)) return null;
  const sizes = columns.filter((c) => c.size !== 'bounded' && c.virtualExpression === null).map((c) => sizeSql(row, c));
  return sizes.length === 0 ? null : `${sizes.join(' + ')} <= ${largeRowBytes}`;
}

function imageColumns(source: TableSource, table: TableShape): readonly ColumnShape[] {
  return table.columns.filter((c) => source.columns === null || source.columns.includes(c.name));
}

/** Not jsonb_build_object: a function takes 100 arguments, a table has up to 1,600 columns. */
function recordSql(columns: readonly ColumnShape[], value: (column: ColumnShape) => string): string {
  const fields = columns.map((c) => `${value(c)} as ${quoteIdentifier(c.name)}`).join(', ');
  return `(select pgo_image from (select ${fields}) as pgo_image)`;
}

function valueSql(row: string, column: ColumnShape, table: TableShape): string {
  if (column.virtualExpression === null) return fieldSql(row, column.name);
  // Bare names in the expression find the row in the innermost scope.
  return `(select ${column.virtualExpression} from (select ${fieldsSql(row, table)}) as pgo_row)`;
}

/** When not all of it fits: without the values that can't be converted or are larger than their share. */
function cappedSql(row: string, columns: readonly ColumnShape[], table: TableShape): string {
  const share = Math.floor(largestImageBytes / Math.max(1, columns.length));
  return recordSql(columns, (c) => {
    const value = valueSql(row, c, table);
    return c.size === 'bounded' && !c.mayRaise ? value : `observers.safe_jsonb(${value}, ${share})`;
  });
}

export function virtualValuesSql(row: string, table: TableShape): string[] {
  return table.columns.filter((c) => c.virtualExpression !== null).map((c) => valueSql(row, c, table));
}

/** At most as large as the value when read, and cheap: neither function reads a value that is stored out of line. */
function sizeSql(row: string, column: ColumnShape): string {
  const value = fieldSql(row, column.name);
  return column.size === 'octets'
    ? `coalesce(octet_length(${value})::bigint, 0)`
    : `coalesce(pg_column_size(${value})::bigint, 0) * ${largestCompressionRatio}`;
}

/** The primary key as text, or a JSON array of texts when it has several columns. */
export function keySql(table: TableShape, text: (column: string) => string): string {
  const [first, ...others] = table.primaryKey;
  if (first === undefined) return 'null::text';
  if (others.length === 0) return text(first);
  return `jsonb_build_array(${table.primaryKey.map(text).join(', ')})::text`;
}

export function fieldSql(row: string, column: string): string {
  return `${row}.${quoteIdentifier(column)}`;
}

/** The select list that gives the table's columns their names. */
export function fieldsSql(row: string, table: TableShape): string {
  return table.columns.map((c) => `${fieldSql(row, c.name)} as ${quoteIdentifier(c.name)}`).join(', ');
}
