/** The session settings that a capture function pins: what a value looks like must not depend on the writer's session. */

import type { TableSource } from '../../domain/rules.ts';
import type { TableShape } from './catalog.ts';

/**
 * `jit`: the estimates for large transition tables invite it, and it then takes longer than all the rest.
 * `plan_cache_mode`: nothing here is worth planning for its parameters, and the first five statements of every session would.
 */
const always: Readonly<Record<string, string>> = {
  search_path: 'pg_catalog, pg_temp',
  jit: 'off',
  plan_cache_mode: 'force_generic_plan',
  standard_conforming_strings: 'on',
};

const ofTypes: Readonly<Record<string, string>> = {
  timezone: 'UTC',
  datestyle: 'ISO, MDY',
  intervalstyle: 'postgres',
  bytea_output: 'hex',
  extra_float_digits: '1',
  lc_monetary: 'C',
  xmloption: 'content',
  quote_all_identifiers: 'off',
};

/** What the text and the JSON of a type depend on, for the usual types: every setting is set and restored with every statement. */
const settingsOfType = new Map<string, readonly string[]>([
  ...[
    'boolean',
    'smallint',
    'integer',
    'bigint',
    'numeric',
    'text',
    'character varying',
    'character',
    'uuid',
    'jsonb',
  ].map((type) => [type, []] as const),
  ...['date', 'timestamp without time zone', 'timestamp with time zone'].map(
    (type) => [type, ['timezone', 'datestyle']] as const,
  ),
  ...['real', 'double precision'].map((type) => [type, ['extra_float_digits']] as const),
  ['bytea', ['bytea_output']],
  ['interval', ['intervalstyle']],
]);

/** All of them for a type we know nothing of, and for expressions, which may turn any value into text. */
export function pinnedSettings(
  source: TableSource,
  operation: TableSource['operations'][number],
  table: TableShape,
): Readonly<Record<string, string>> {
  if (operation === 'truncate') return always;
  const names = Object.keys(ofTypes);
  const computed = source.where !== null || table.columns.some((c) => c.virtualExpression !== null);
  const needed = new Set(
    computed ? names : table.columns.flatMap((c) => settingsOfType.get(c.type.replace(/\([\d,-]+\)/, '')) ?? names),
  );
  return { ...always, ...Object.fromEntries(Object.entries(ofTypes).filter(([name]) => needed.has(name))) };
}
