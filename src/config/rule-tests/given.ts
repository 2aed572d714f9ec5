import { type EventRecord, type JsonText, type Operation, tableOperations } from '../../domain/event.ts';
import type { Config, Source, TableSource } from '../../domain/rules.ts';
import type { Field } from '../field.ts';
import { didYouMean, listed } from '../suggestions.ts';
import { operationKeys } from './schema.ts';

type Row = ReadonlyMap<string, JsonText>;

/** The event that would stand in the log. */
export function readGiven(field: Field, index: number, config: Config): EventRecord {
  const operation = Object.keys(operationKeys).find((key) => field.get(key).present) as Operation;
  const source = findSource(field.get(operation), operation, config);
  refuseForeign(field, operation);
  const { old, current } = images(field, operation);
  if (source?.kind === 'table') {
    refuseUncaptured(field.get('old'), source);
    refuseUncaptured(field.get('new'), source);
  }
  const row = current ?? old;
  const table = source?.kind === 'table' ? source : null;
  return {
    id: String(index + 1),
    uid: field.get('id').text() ?? `00000000-0000-7000-8000-${String(index + 1).padStart(12, '0')}`,
    // As `observers.emit` records it.
    source: source?.kind === 'topic' ? source.topic : (source?.name ?? ''),
    operation,
    schema: table?.schema ?? null,
    table: table?.table ?? null,
    key: given(field.get('key'), () => scalarText(row?.get('id'))),
    tenant: given(field.get('tenant'), () => (table?.tenant ? scalarText(row?.get(table.tenant)) : null)),
    old: old === null ? null : jsonOf(old),
    new: current === null ? null : jsonOf(current),
    payload: operation === 'notify' || operation === 'emit' ? jsonIn(field.get('payload')) : null,
    context: field.get('context').present ? jsonIn(field.get('context')) : null,
    at: field.get('at').text() ?? '2026-01-01T00:00:00.000000Z',
  };
}

const kindOf = (operation: Operation): Source['kind'] =>
  operation === 'notify' ? 'channel' : operation === 'emit' ? 'topic' : 'table';

function findSource(field: Field, operation: Operation, { sources }: Config): Source | null {
  const name = field.text();
  if (name === undefined) return null;
  const source = sources.get(name);
  const wanted = kindOf(operation);
  const fitting = [...sources.values()].filter(({ kind }) => kind === wanted).map((fits) => fits.name);
  if (source === undefined) {
    field.refuse(`there is no source ${field.shown}`, didYouMean(name, fitting));
    return null;
  }
  if (source.kind !== wanted) {
    field.refuse(
      `source ${field.shown} is a ${source.kind}, and \`${operation}\` needs a ${wanted}`,
      fitting.length === 0 ? null : `such as ${fitting[0]}`,
    );
    return null;
  }
  const captured: readonly string[] = source.kind === 'table' ? [...source.operations, 'read'] : [operation];
  if (!captured.includes(operation)) {
    field.refuseKey(`source ${field.shown} captures no ${operation}`, `it captures ${listed(captured, 'and')}`);
  }
  return source;
}

const imagesOf: Readonly<Record<Operation, readonly string[]>> = {
  insert: ['new'],
  read: ['new'],
  update: ['old', 'new'],
  delete: ['old'],
  truncate: [],
  notify: ['payload'],
  emit: ['payload'],
};

function refuseForeign(field: Field, operation: Operation): void {
  for (const key of ['old', 'new', 'payload']) {
    const part = field.get(key);
    const belongs = imagesOf[operation].includes(key);
    if (part.value !== undefined && !belongs) part.refuseKey(`\`${operation}\` has no \`${key}\``, 'remove it');
    if (part.value === undefined && belongs && key !== 'payload' && operation !== 'update')
      field.refuseKey(`\`${operation}\` needs the row \`${key}\``);
  }
  if (operation === 'update' && !field.get('old').present && !field.get('new').present)
    field.refuseKey('`update` needs the rows `old` and `new`');
}

/** An update leaves all columns that it does not set: those of one image stand for the other, too. */
function images(field: Field, operation: Operation): { readonly old: Row | null; readonly current: Row | null } {
  const old = (tableOperations as readonly string[]).includes(operation) ? rowOf(field.get('old')) : null;
  const current = (tableOperations as readonly string[]).includes(operation) ? rowOf(field.get('new')) : null;
  if (operation !== 'update') return { old, current };
  const columns = [...new Set([...(old ?? new Map()).keys(), ...(current ?? new Map()).keys()])];
  const image = (first: Row | null, second: Row | null): Row =>
    new Map(columns.map((column) => [column, first?.get(column) ?? second?.get(column) ?? 'null']));
  return { old: image(old, current), current: image(current, old) };
}

function rowOf(field: Field): Row | null {
  if (!field.present) return null;
  return new Map(field.entries().map(([column, value]) => [column, jsonIn(value)]));
}

const jsonIn = (field: Field): JsonText => field.draft.document.json(field.path);

const jsonOf = (row: Row): JsonText =>
  `{${[...row].map(([column, json]) => `${JSON.stringify(column)}: ${json}`).join(', ')}}`;

/** A test that passes because of a column that is never captured would promise what will not happen. */
function refuseUncaptured(field: Field, { name, columns }: TableSource): void {
  if (columns === null) return;
  for (const [column, value] of field.entries()) {
    if (columns.includes(column)) continue;
    value.refuseKey(
      `source \`${name}\` does not capture the column \`${column}\``,
      didYouMean(column, columns) ?? 'add it to `columns`, or remove it here',
    );
  }
}

function given(field: Field, otherwise: () => string | null): string | null {
  return field.value === undefined ? otherwise() : (field.text() ?? null);
}

/** As `->>` gives it. */
function scalarText(json: JsonText | undefined): string | null {
  if (json === undefined || json === 'null') return null;
  return json.startsWith('"') ? String(JSON.parse(json)) : json;
}
