/** What a statement changed, as FROM items and values for the capture triggers. */

import type { TableSource } from '../../domain/rules.ts';
import type { TableShape } from './catalog.ts';
import { quoteLiteral } from './identifiers.ts';
import { fieldSql, fieldsSql, imageSql, isSmallSql, keySql, virtualValuesSql } from './row-image-sql.ts';

export type RowOperation = 'insert' | 'update' | 'delete';

/**
 * FROM items: the new rows as `n`, the old ones as `o`, as far as the operation has them, each with its columns, its number
 * in `pgo_rn` (see `isNumberedById`) and the whole of it in `pgo_row`.
 *
 * `pgo_row` is for functions that take any row. Its fields can't be had from it: PostgreSQL counts them without the columns
 * that were dropped from the table, and then looks at the wrong one.
 */
export interface Pairs {
  /** Old and new row of the same number: transition tables keep them in the same order. */
  readonly byNumber: string;
  /**
   * By primary key, and every row alone where there is none. Only for when numbers would pair strangers; the key may be
   * what the update changes.
   */
  readonly byKey: string;
  /** Of one row, which needs no pairing; null where that makes no difference. */
  readonly single: string | null;
  /** By number, without the columns, for when they no longer fit. */
  readonly unfitting: string;
}

/**
 * Rows that an update moves between partitions can lose their partner: a BEFORE INSERT trigger of the target partition may
 * drop the new row.
 */
export const mismatchSql = `(select case when o <> n then o + n end
    from (select (select count(*) from pgo_old_rows) as o, (select count(*) from pgo_new_rows) as n) as rows)`;

/** Statement triggers never fire for rows that logical replication applies. */
export function isRowLevel(source: TableSource, operation: RowOperation | 'truncate'): boolean {
  return source.replicated && operation !== 'truncate';
}

/**
 * The number of a row is the id of its event, taken from the sequence where the row is read: cheaper than counting rows and
 * then taking an id. What looks rows up by number needs them counted from 1.
 */
export function isNumberedById(source: TableSource, operation: RowOperation): boolean {
  return operation !== 'update' && source.where === null && !isRowLevel(source, operation);
}

export function canMismatch(source: TableSource, operation: RowOperation, table: TableShape): boolean {
  return operation === 'update' && table.family.length > 1 && !isRowLevel(source, operation);
}

export function pairsOf(source: TableSource, operation: RowOperation, table: TableShape): Pairs {
  const rowLevel = isRowLevel(source, operation);
  // A column that is named like an alias would win over it, so the alias begins with pgo_.
  const number = isNumberedById(source, operation) ? "nextval('observers.events_id_seq')" : 'row_number() over ()';
  const numbered = (side: 'new' | 'old', columns: string, offset = '') =>
    rowLevel
      ? `(select 1::bigint as pgo_rn, ${side} as pgo_row${columns === '' ? '' : `, ${fieldsSql(side, table)}`})`
      : `(select ${number}${offset} as pgo_rn, pgo_t as pgo_row${columns} from pgo_${side}_rows pgo_t)`;
  const whole = (side: 'new' | 'old') => numbered(side, ', pgo_t.*');
  if (operation !== 'update') {
    const side = operation === 'insert' ? 'new' : 'old';
    const byNumber = `${whole(side)} ${side[0]}`;
    return { byNumber, byKey: byNumber, single: null, unfitting: `${numbered(side, '')} ${side[0]}` };
  }
  const one = (side: 'new' | 'old') =>
    `(select ${side === 'new' ? '1::bigint as pgo_rn, ' : ''}pgo_t as pgo_row, pgo_t.* from pgo_${side}_rows pgo_t)`;
  // Full joins: a row that lost its partner is still an event.
  const paired = (old: string, now: string) => `${old} o full join ${now} n using (pgo_rn)`;
  const apart = canMismatch(source, operation, table) ? ' + coalesce(pgo_mismatch, 0)' : '';
  const sameKey = table.primaryKey.map((c) => `${fieldSql('x', c)} = ${fieldSql('y', c)}`).join(' and ');
  // An old row gets the number of its new row, or one beyond all of those.
  const renumbered = `(select coalesce(y.pgo_rn, x.pgo_rn + (select count(*) from pgo_new_rows)) as pgo_rn, x.pgo_row, ${fieldsSql('x', table)}
        from ${whole('old')} x left join ${whole('new')} y on ${sameKey === '' ? 'false' : sameKey})`;
  return {
    byNumber: paired(whole('old'), whole('new')),
    byKey: paired(renumbered, whole('new')),
    single: rowLevel || canMismatch(source, operation, table) ? null : `${one('old')} o cross join ${one('new')} n`,
    unfitting: paired(numbered('old', ''), numbered('new', '', apart)),
  };
}

/** How much of an event is protected: against large values, and against a table that has changed. */
export type Care = 'small' | 'large' | 'images' | 'all';

export interface EventValues {
  readonly key: string;
  readonly tenant: string;
  readonly old: string;
  readonly new: string;
}

/**
 * Columns of the event, from the aliases `n` and `o`.
 * @param care small: for rows of `isSmallSql`; large: for any; images and all: what of it is protected against a changed table
 */
export function valuesSql(source: TableSource, operation: RowOperation, table: TableShape, care: Care): EventValues {
  const allowed = source.columns === null ? 'null' : `array[${source.columns.map(quoteLiteral).join(', ')}]::text[]`;
  const lonely = canMismatch(source, operation, table);
  const image = (row: string) => {
    if (care === 'images' || care === 'all') return `observers.safe_image(${row}.pgo_row, ${allowed})`;
    const whole = imageSql(row, source, table, care === 'large');
    // No image at all, rather than one full of nulls.
    return lonely ? `case when ${row}.pgo_rn is not null then ${whole} end` : whole;
  };
  const text = (row: string) => (column: string) =>
    care === 'all'
      ? `(observers.safe_image(${row}.pgo_row, array[${quoteLiteral(column)}]) ->> ${quoteLiteral(column)})`
      : `${fieldSql(row, column)}::text`;
  /** Of the new row, or where there is none of the old one. */
  const ofSubject = (value: (row: string) => string) => {
    if (lonely) return `case when n.pgo_rn is not null then ${value('n')} else ${value('o')} end`;
    return value(operation === 'delete' ? 'o' : 'n');
  };
  const { tenant } = source;
  return {
    key: ofSubject((row) => keySql(table, text(row))),
    tenant: tenant === null ? 'null::text' : ofSubject((row) => text(row)(tenant)),
    old: operation === 'insert' ? 'null::jsonb' : image('o'),
    new: operation === 'delete' ? 'null::jsonb' : image('n'),
  };
}

/** Whether all images of an event are small; null when that is no question. */
export function smallEventSql(source: TableSource, operation: RowOperation, table: TableShape): string | null {
  const rows = { insert: ['n'], update: ['o', 'n'], delete: ['o'] }[operation];
  const conditions = rows.map((row) => isSmallSql(row, source, table)).filter((sql) => sql !== null);
  return conditions.length === 0 ? null : conditions.join(' and ');
}

/**
 * `where` runs apart from the INSERT, so that a division by zero in it can't fail the writer; what is kept is a boolean per
 * row (not the list of matching numbers: searching that for every row would be quadratic).
 * `new.x`, `old.x` and the bare column (of the new row, or of the old one in a delete) all resolve: the innermost scope
 * holds one row, the enclosing one both.
 *
 * @param last the highest number when some may be missing, or null
 */
export function matchesSql(
  where: string,
  operation: RowOperation,
  table: TableShape,
  pairs: string,
  last: string | null,
): string {
  const subject = operation === 'delete' ? 'old' : 'new';
  const scope = (name: 'new' | 'old', present: boolean) =>
    present
      ? `cross join lateral (select ${fieldsSql(name.slice(0, 1), table)}) as ${name}`
      : `left join lateral (select ${fieldsSql(subject.slice(0, 1), table)}) as ${name} on false`;
  const matches = `select pgo_rn, coalesce((select (${where}
        )::boolean from (select ${subject}.*) as pgo_row), false) as pgo_match
        from ${pairs}
        ${scope('new', operation !== 'delete')}
        ${scope('old', operation !== 'insert')}`;
  const complete = last === null ? '' : ` right join generate_series(1, ${last}) as pgo_rn using (pgo_rn)`;
  return `select array_agg(pgo_match order by pgo_rn) into pgo_matches
      from (${matches}) as m${complete};`;
}

/** Computes the virtual columns of all rows, to no avail but an exception; null when there are none. */
export function virtualProbeSql(operation: RowOperation, table: TableShape, pairs: string): string | null {
  const values = [
    ...(operation === 'insert' ? [] : virtualValuesSql('o', table)),
    ...(operation === 'delete' ? [] : virtualValuesSql('n', table)),
  ];
  return values.length === 0 ? null : `perform ${values.map((v) => `count(${v})`).join(', ')} from ${pairs};`;
}
