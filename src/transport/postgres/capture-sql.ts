/**
 * The capture trigger functions, one per source and operation.
 *
 * The law of this file: whatever happens in here, the writer's transaction goes on. An exception block around the INSERT
 * is no way to it: it would give every captured statement a subtransaction xid, and 64 of those in one transaction slow
 * down snapshots for the whole cluster. So a function compares the table's columns with those it was generated for:
 * - the same: what it does can't fail, or runs first in an exception block that writes nothing (`where`)
 * - others were added: the same keys, and images made with care, as a new column may hold what jsonb can't
 * - one is gone or has another type: the rows as they are, marked with `capture_error`
 *
 * Its second law: what every statement or row pays stays small. Hence no call of a function of ours on the usual path (each
 * one pins its own search_path), one random number per statement instead of one per row, no more pinned settings than the
 * columns need, and no expression in a statement for what rarely happens: it is prepared anew with every execution, used or
 * not. A rare case is a statement of its own.
 */

import { createHash } from 'node:crypto';
import type { TableSource } from '../../domain/rules.ts';
import {
  type Care,
  canMismatch,
  type EventValues,
  isNumberedById,
  isRowLevel,
  matchesSql,
  mismatchSql,
  pairsOf,
  type RowOperation,
  smallEventSql,
  valuesSql,
  virtualProbeSql,
} from './capture-rows-sql.ts';
import type { TableShape } from './catalog.ts';
import { boundedName, qualified, quoteIdentifier, quoteLiteral } from './identifiers.ts';
import { lockClass, locks, wakeChannel } from './locks.ts';
import { pinnedSettings } from './pinned-settings.ts';

export type CapturedOperation = TableSource['operations'][number];

export interface CaptureFunction {
  readonly source: string;
  readonly operation: CapturedOperation;
  /** Without the schema. */
  readonly name: string;
  readonly body: string;
  /** What it pins of the session, by name. */
  readonly settings: Readonly<Record<string, string>>;
  readonly sql: string;
}

/**
 * EXECUTE is taken from PUBLIC (PostgreSQL gives it by default, and asks for it only when a trigger is made, not when it
 * fires), or whoever may use the schema could attach the function to a table of his own and forge events of this source.
 */
export function captureFunction(source: TableSource, operation: CapturedOperation, table: TableShape): CaptureFunction {
  const name = boundedName(`capture_${source.name}_${operation}`);
  const body = operation === 'truncate' ? truncateBody(source) : rowsBody(source, operation, table);
  const settings = pinnedSettings(source, operation, table);
  const pinned = Object.entries(settings).map(
    // A list of names: as one string it would be one name.
    ([setting, value]) => `set ${setting} = ${setting === 'search_path' ? value : quoteLiteral(value)}`,
  );
  const sql = `create or replace function ${qualified('observers', name)}() returns trigger
language plpgsql security definer
${pinned.join('\n')}
as $capture$${body}$capture$;
revoke all on function ${qualified('observers', name)}() from public`;
  return { source: source.name, operation, name, body, settings, sql };
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
  ${source.notify ? wakeSql : quiet}
  return null;
end
`;
}

/** The same protocol as observers.wake(), in place: a router that is awake need not be told, and a full queue would fail the commit. */
const mayNotifySql = `not pg_try_advisory_xact_lock_shared(${lockClass}, ${locks.routerAsleep}) and pg_notification_queue_usage() < 0.5`;
const notifySql = `perform pg_notify('${wakeChannel}', '');`;
const wakeSql = `if ${mayNotifySql} then\n    ${notifySql}\n  end if;`;
const quiet = '-- notify: false, so that writers may PREPARE TRANSACTION; the next poll finds the event';

/**
 * uids are version 7 UUIDs as RFC 9562 §6.2 has them for batches ("monotonic random"): milliseconds, then a random number
 * (61 bits) plus the number of the row. A random number per row would be a fifth of the whole cost of capturing it.
 */
function rowsBody(source: TableSource, operation: RowOperation, table: TableShape): string {
  const { unfitting } = pairsOf(source, operation, table);
  const wake = source.notify
    ? `if (found or pgo_written > 0) and ${mayNotifySql} then\n    ${notifySql}\n  end if;`
    : quiet;
  return `
${header(source, operation)}
#variable_conflict use_column
declare
  pgo_at       timestamptz := clock_timestamp();
  -- The first 16 digits, and the last 16 as a number.
  pgo_uid      text;
  pgo_uid_last bigint;
  pgo_context  jsonb;
  pgo_rows     bigint;
  pgo_written  bigint;
  pgo_fits     boolean;
  pgo_columns  text[];
  pgo_fault    text;${source.where === null ? '' : '\n  pgo_matches  boolean[];'}${canMismatch(source, operation, table) ? `\n  -- Numbers up to this when old and new rows are not as many; null when they are.\n  pgo_mismatch bigint := ${mismatchSql};` : ''}
begin
  ${beginSql(source, operation, table)}
  if not pgo_fits then
    ${columnsSql}
    pgo_fits := pgo_columns = ${expectedSql(table)};
    if not pgo_columns @> ${expectedSql(table)} then
      pgo_fault := 'dropped, renamed or of another type since apply: ' || array_to_string(array(
        select regexp_replace(pgo_c, ' [0-9]+$', '') from unnest(${expectedSql(table)}) pgo_c where pgo_c <> all (pgo_columns)), ', ');
      ${insertSql(source, operation, valuesSql(source, operation, table, 'all'), unfitting)}
      ${wake.replaceAll('\n', '\n    ')}
      return null;
    end if;
  end if;${checksSql(source, operation, table)}
  if pgo_fits then
    ${insertFittingSql(source, operation, table)}
  else
    ${insertPairsSql(source, operation, table, 'images')}
  end if;
  ${wake}
  return null;
end
`;
}

const expectedSql = (table: TableShape) => `array[${table.signature.map(quoteLiteral).join(', ')}]::text[]`;

/**
 * All that a statement computes once, in one query: as expressions of their own they cost twice as much. And whether the
 * table still is what the function was generated for. `observers.table_with_columns` costs nothing here: it is computed when
 * the query is planned, which is again when the table of the transition rows was altered. For a partition, and for a table
 * that was renamed, the catalog is asked every time.
 */
function beginSql(source: TableSource, operation: RowOperation, table: TableShape): string {
  const rowLevel = isRowLevel(source, operation);
  const name = quoteLiteral(qualified(table.schema, table.name));
  const fits = rowLevel
    ? 'false'
    : `coalesce(tg_relid = observers.table_with_columns(${name}, ${expectedSql(table)}), false)`;
  const rows = rowLevel ? '' : ` from ${operation === 'insert' ? 'pgo_new_rows' : 'pgo_old_rows'}`;
  return `select count(*), ${fits},
    -- Of eleven digits, until the year 2527. The version is 7.
    '0' || to_hex(trunc(extract(epoch from pgo_at) * 1000)::bigint * 65536 + 28672),
    -- The sign and what is missing next to it are the variant.
    uuid_hash_extended(gen_random_uuid(), 0) & ${2n ** 61n - 1n} | ${-(2n ** 63n)},
    case when current_setting('observers.context', true) <> '' then observers.context() end
  into pgo_rows, pgo_fits, pgo_uid, pgo_uid_last, pgo_context${rows};`;
}

/** The snapshot of a repeatable read transaction may be older than the columns. */
const columnsSql = `pgo_columns := case when current_setting('transaction_isolation') in ('repeatable read', 'serializable')
      then observers.columns_of(tg_relid::regclass::text)
      else array(
        select attname || ' ' || atttypid from pg_attribute
        where attrelid = tg_relid and attnum > 0 and not attisdropped order by attname) end;`;

/** Large rows apart, by a statement that hardly ever runs. */
function insertFittingSql(source: TableSource, operation: RowOperation, table: TableShape): string {
  const small = smallEventSql(source, operation, table);
  if (small === null) return insertPairsSql(source, operation, table, 'small');
  return `${insertPairsSql(source, operation, table, 'small', small)}
      get diagnostics pgo_written = row_count;
      if pgo_written < pgo_rows then
        ${insertPairsSql(source, operation, table, 'large', `not (${small})`)}
      end if;`;
}

function insertPairsSql(
  source: TableSource,
  operation: RowOperation,
  table: TableShape,
  care: Care,
  condition: string | null = null,
): string {
  const matching = source.where === null ? null : '(pgo_matches is null or pgo_matches[pgo_rn])';
  const conditions = [matching, condition].filter((sql) => sql !== null);
  const filter = conditions.length === 0 ? '' : ` where ${conditions.join(' and ')}`;
  return paired(source, operation, table, (pairs) =>
    insertSql(source, operation, valuesSql(source, operation, table, care), pairs + filter),
  );
}

/** One statement for how rows are paired, or two of which one runs. */
function paired(
  source: TableSource,
  operation: RowOperation,
  table: TableShape,
  statement: (pairs: string, last: string | null) => string,
): string {
  const { byNumber, byKey, single } = pairsOf(source, operation, table);
  if (single !== null) {
    return `if pgo_rows = 1 then
        ${statement(single, null)}
      else
        ${statement(byNumber, null)}
      end if;`;
  }
  if (!canMismatch(source, operation, table)) return statement(byNumber, null);
  return `if pgo_mismatch is not null then
        ${statement(byKey, 'pgo_mismatch')}
      else
        ${statement(byNumber, null)}
      end if;`;
}

/** What may raise and is the rule's or the table's own, in exception blocks that write nothing. */
function checksSql(source: TableSource, operation: RowOperation, table: TableShape): string {
  const { where } = source;
  const { byNumber } = pairsOf(source, operation, table);
  const virtual = virtualProbeSql(operation, table, byNumber);
  const guarded = (statement: string, then: string) => `
    begin
      ${statement}
    exception when others then
      ${then}
    end;`;
  // A message may quote the value of a column that the source leaves out.
  const reason = source.columns === null ? 'sqlerrm' : "'SQLSTATE ' || sqlstate";
  return [
    virtual === null ? '' : guarded(virtual, `pgo_fits := false;\n      pgo_fault := ${reason};`),
    where === null
      ? ''
      : guarded(
          paired(source, operation, table, (pairs, last) => matchesSql(where, operation, table, pairs, last)),
          `pgo_fault := 'where: ' || ${reason};`,
        ),
  ].join('');
}

function insertSql(source: TableSource, operation: RowOperation, values: EventValues, from: string): string {
  const [id, number] = isNumberedById(source, operation) ? ['id, ', 'pgo_rn, '] : ['', ''];
  return `insert into observers.events
        (${id}uid, source, operation, table_schema, table_name, key, tenant, old, new, context, capture_error, created_at)
      select ${number}(pgo_uid || to_hex(pgo_uid_last + pgo_rn))::uuid, ${quoteLiteral(source.name)}, '${operation}',
             tg_table_schema, tg_table_name, ${values.key}, ${values.tenant}, ${values.old}, ${values.new},
             pgo_context, pgo_fault, pgo_at
      from ${from};`;
}

function header(source: TableSource, operation: CapturedOperation): string {
  const written = JSON.stringify([source.columns, source.where, source.tenant, source.notify, source.replicated]);
  const version = createHash('sha256').update(written).digest('hex').slice(0, 12);
  // A newline in a name would end the comment.
  return `-- pg-observers: source ${JSON.stringify(source.name)}, ${operation}, rule ${version}. Generated by apply: edit observers.yaml instead.`;
}
