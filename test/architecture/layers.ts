import { dirname, join, normalize } from 'node:path/posix';
import { parseSync } from 'oxc-parser';

/*
 * The layering as data: what the files of a folder may import of ours, beside their own folder. The first entry that
 * matches a path counts, so a stage comes before `pipeline`.
 *
 * Not Biome's noRestrictedImports: it matches the text of a specifier and not the file it means, so the same rule would
 * have to be written once for every depth of folders, and one folder deeper nobody would notice that it is gone.
 */

const stage = ['src/domain', 'src/expression', 'src/actions', 'src/transport/contract.ts', 'src/pipeline/*.ts'];

export const layers: Readonly<Record<string, readonly string[]>> = {
  'src/domain': [],
  'src/expression': ['src/domain'],
  'src/config': ['src/domain', 'src/expression'],
  'src/actions': ['src/domain', 'src/expression'],
  'src/transport/contract.ts': ['src/transport/contract'],
  'src/transport/contract': ['src/domain'],
  'src/transport/archive': ['src/domain', 'src/transport/contract.ts'],
  'src/transport/postgres': ['src/domain', 'src/transport/contract.ts'],
  'src/pipeline/capture': stage,
  'src/pipeline/decide': stage,
  'src/pipeline/deliver': stage,
  'src/pipeline/recover': stage,
  'src/pipeline/*.ts': ['src/domain'],
  'src/rehearsal': ['src/domain', 'src/config', 'src/expression', 'src/actions', 'src/pipeline'],
  'src/starter': [],
  'src/doctor': ['src/domain', 'src/expression', 'src/actions', 'src/transport'],
  'src/telemetry': ['src/domain'],
  'src/stages.ts': ['src/domain', 'src/pipeline', 'src/transport'],
  'src/engine-status.ts': ['src/domain', 'src/stages.ts', 'src/transport'],
  'src/engine.ts': [
    'src/domain',
    'src/stages.ts',
    'src/engine-status.ts',
    'src/telemetry',
    'src/pipeline',
    'src/transport',
  ],
  'src/http': ['src/domain', 'src/engine.ts', 'src/telemetry', 'src/transport'],
  'src/index.ts': ['src/domain', 'src/config', 'src/engine.ts'],
  'src/embedded': ['src/domain'],
  'src/receivers': ['src/domain', 'src/config/units.ts'],
  'src/demo': [
    'src/domain',
    'src/config',
    'src/engine.ts',
    'src/telemetry',
    'src/transport',
    'src/embedded',
    'src/receivers',
  ],
  'src/cli': ['src'],
};

/** Files that may end the process and read its arguments. */
const mayUseProcess = ['src/cli', 'src/demo', 'src/config/write-schema.ts'];

/** Where SQL stands: a statement anywhere else has escaped from the transport. */
const mayHoldSql = ['src/transport/postgres', 'src/demo', 'src/embedded'];

/** What a statement begins with. In lower case, as all of ours are; prose has capitals or no clause behind the verb. */
const statement =
  /[`'"]\s*(?:select\s+[\w$*(]|insert\s+into\s|update\s+\w+\.\w+|delete\s+from\s|with\s+\w+\s+as\s|(?:create|drop|alter)\s+(?:table|schema|function|trigger|index)\s|set\s+local\s|listen\s|notify\s|begin[`'"]|commit[`'"])/;

/** What says nothing about how we store things; `emit` is what the documentation of a topic shows. */
const harmlessSql =
  /[`'"]select (?:1|observers\.emit\([^`]*|pg_notify\(\$1, \$2\)|pg_notification_queue_usage\(\) as usage)[`'"]/g;

export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** @param file path from the repository's root, as `src/domain/event.ts` */
export function violationsOf(file: string, source: string): Violation[] {
  return [...importViolations(file, source), ...processViolations(file, source), ...sqlViolations(file, source)];
}

function importViolations(file: string, source: string): Violation[] {
  const own = Object.keys(layers).find((layer) => isIn(file, layer));
  if (own === undefined)
    return [{ file, line: 1, message: 'belongs to no layer: add it to test/architecture/layers.ts' }];
  const allowed = [own, ...(layers[own] ?? [])];
  return importsOf(source).flatMap(({ specifier, line }) => {
    if (!specifier.startsWith('.')) return [];
    const target = normalize(join(dirname(file), specifier));
    if (allowed.some((place) => isIn(target, place))) return [];
    return [{ file, line, message: `${own} may not import ${target}` }];
  });
}

/** `a/*.ts`: the files of that folder itself. */
function isIn(path: string, place: string): boolean {
  if (place.endsWith('/*.ts')) return dirname(path) === dirname(place);
  return path === place || path.startsWith(`${place}/`);
}

interface Import {
  readonly specifier: string;
  readonly line: number;
}

/** Types included: a type that points upward ties the layers just as well. */
export function importsOf(source: string): Import[] {
  const { module, errors } = parseSync('module.ts', source);
  if (errors.length > 0) throw new Error(errors[0]?.message);
  const requests = [
    ...module.staticImports.map((found) => found.moduleRequest),
    ...module.staticExports.flatMap(({ entries }) => entries.flatMap((entry) => entry.moduleRequest ?? [])),
    ...module.dynamicImports.map((found) => found.moduleRequest),
  ];
  return requests.map(({ start, end }) => ({
    specifier: source.slice(start, end).replaceAll(/^['"`]|['"`]$/g, ''),
    line: lineOf(source, start),
  }));
}

function processViolations(file: string, source: string): Violation[] {
  if (mayUseProcess.some((place) => isIn(file, place))) return [];
  return matches(source, /\bprocess\s*\.\s*(exit|exitCode|argv|abort)\b/g).map(({ line, text }) => ({
    file,
    line,
    message: `${text} belongs to src/cli`,
  }));
}

function sqlViolations(file: string, source: string): Violation[] {
  if (mayHoldSql.some((place) => isIn(file, place))) return [];
  return matches(source.replaceAll(harmlessSql, "''"), new RegExp(statement, 'g')).map(({ line, text }) => ({
    file,
    line,
    message: `SQL belongs to src/transport/postgres: ${text.trim()}`,
  }));
}

/** Outside of comments. */
function matches(source: string, pattern: RegExp): { line: number; text: string }[] {
  const { comments } = parseSync('module.ts', source);
  const bare = comments.reduce(
    (text, { start, end }) => text.slice(0, start) + text.slice(start, end).replaceAll(/[^\n]/g, ' ') + text.slice(end),
    source,
  );
  return [...bare.matchAll(pattern)].map((match) => ({ line: lineOf(bare, match.index), text: match[0] }));
}

function lineOf(source: string, offset: number): number {
  return source.slice(0, offset).split('\n').length;
}
