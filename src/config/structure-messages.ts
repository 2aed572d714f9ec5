import { childOf } from './document.ts';
import { kindNames, kinds } from './kinds/index.ts';
import { tableKeys } from './schema.ts';
import { didYouMean, listed } from './suggestions.ts';
import { unsupportedKeys } from './unsupported.ts';
import type { SchemaError } from './validation.ts';
import { shortened } from './variables.ts';

/** The sentences in which a configuration that does not fit the schema is told so. */
export type Told = readonly [message: string, hint: string | null];

const beginning = 'begin it with `version: 1`';

/** What a person calls the place: `destination billing`, `action 2 of big-order-paid`. */
export function placeName(path: readonly string[]): string {
  const [section, name, , index] = path;
  if (section === undefined || name === undefined) return section === undefined ? 'the file' : `\`${section}\``;
  const singular: Readonly<Record<string, string>> = {
    sources: 'source',
    destinations: 'destination',
    observers: 'observer',
  };
  if (section === 'tests' && path.length === 2) return `test ${Number(name) + 1}`;
  const kind = singular[section];
  if (kind !== undefined && path.length === 2) return `${kind} \`${name}\``;
  if (section === 'observers' && path.length === 4) return `action ${Number(index) + 1} of observer \`${name}\``;
  return `\`${path.at(-1)}\``;
}

export function unknownKey(path: readonly string[], key: string, known: readonly string[], meant: string | null): Told {
  if (key === '<<') return ['merge keys (`<<`) are not supported', 'use `defaults`, or an alias for a whole value'];
  if (unsupportedKeys.has(key)) return [`\`${key}\` is not supported yet`, null];
  if (key === 'on_dead' && path[0] === 'observers' && path.length === 2)
    return [`\`on_dead\` belongs into \`order_by\``, 'write order_by: { expression: key, on_dead: block }'];
  if (key === 'batch' && path[0] === 'observers' && path.length === 4)
    return ['`batch` belongs into the destination', 'which gathers for all its actions: batch: { max: 100, wait: 1s }'];
  const hint = meant === null ? `known: ${known.join(', ')}` : didYouMean(key, [meant]);
  return [`unknown key \`${shortened(key)}\` in ${placeName(path)}`, hint];
}

export function missingKey(path: readonly string[], key: string): Told {
  const hint = path.length === 0 && key === 'version' ? beginning : null;
  return [`${placeName(path)} has no \`${key}\``, hint];
}

export function missingChoice(path: readonly string[], choices: readonly string[], given: readonly string[]): Told {
  if (given.length > 1) return [`${placeName(path)} has ${listed(given, 'and')}`, `keep one of them`];
  return [`${placeName(path)} has no ${listed(choices)}`, null];
}

export function misplacedKey(path: readonly string[], parent: unknown): Told {
  const key = path.at(-1) ?? '';
  if (Object.hasOwn(tableKeys, key) && path[0] === 'sources') {
    const kind = childOf(parent, 'channel') === undefined ? 'topic' : 'channel';
    return [`\`${key}\` is for tables, and this is a ${kind} source`, 'remove it'];
  }
  const owners = kindNames.filter((kind) => Object.hasOwn(kinds[kind].actionKeys, key));
  const actual = kindNames.find((kind) => childOf(parent, kind) !== undefined) ?? 'different';
  return [`\`${key}\` is for ${owners.join(' and ')} actions, and this is a ${actual} action`, 'remove it'];
}

export function namingRule(path: readonly string[], name: string): Told {
  return [
    `\`${shortened(name)}\` can't be a name in ${placeName(path)}`,
    'letters, digits, `_`, `-` and `.`, at most 63',
  ];
}

/** A value of the wrong type, range or wording. `written` is what the file says: never what a variable holds. */
export function wrongValue(error: SchemaError, path: readonly string[], written: unknown): Told {
  const parent = (error.parentSchema ?? {}) as { readonly type?: unknown; readonly errorMessage?: unknown };
  const what = subject(path);
  const types = [parent.type].flat();
  if (written === null) return path.length === 0 ? ['the file is empty', beginning] : [`${what} has no value`, null];
  if (types.includes('integer') || types.includes('number')) return wrongNumber(what, error, written);
  if (types.includes('boolean')) {
    return [`${what} must be true or false, not ${shown(written)}`, null];
  }
  switch (error.keyword) {
    case 'enum':
      return wrongWord(what, error.params.allowedValues, written);
    case 'type':
      return wrongType(what, path, types.map(String), written);
    case 'minItems':
    case 'minLength':
    case 'minProperties':
      return [`${what} is empty`, null];
    case 'maxItems':
      return [`${what} has more than ${error.params.limit} items`, null];
    case 'uniqueItems':
      return [`${what} has the same item twice`, null];
    case 'pattern':
      return [
        `${what} can't be ${shown(written)}`,
        typeof parent.errorMessage === 'string' ? lower(parent.errorMessage) : null,
      ];
    default:
      return [`${what} is not right: ${error.message ?? error.keyword}`, null];
  }
}

function wrongNumber(what: string, error: SchemaError, written: unknown): Told {
  const { type, minimum, exclusiveMinimum, maximum } = (error.parentSchema ?? {}) as Record<string, unknown>;
  const kind = [type].flat().includes('integer') ? 'a whole number' : 'a number';
  const range = minimum === undefined ? `above ${exclusiveMinimum} and at most` : `from ${minimum} to`;
  const hint =
    typeof written === 'string' && /^[\d_]+(\.\d+)?$/.test(written) ? 'without quotes and underscores' : null;
  return [`${what} must be ${kind} ${range} ${maximum}, not ${shown(written)}`, hint];
}

function wrongWord(what: string, allowed: readonly unknown[], written: unknown): Told {
  const words = allowed.map(String);
  if (typeof written === 'string' && words.includes(written))
    return [`${what} must be ${listed(words)}, not text`, 'without quotes'];
  const hint = typeof written === 'string' ? didYouMean(written, words) : null;
  return [`${what} must be ${listed(words)}, not ${shown(written)}`, hint];
}

function wrongType(what: string, path: readonly string[], types: readonly string[], written: unknown): Told {
  const wanted = types.map((type) => typeNames[type] ?? type).join(' or ');
  const message = `${what} must be ${wanted}, not ${typeOf(written)}`;
  if (path.at(-1) === 'when' && written === true) return [message, 'leave it out to match every event'];
  if (path.at(-1) === 'listen') return [message, 'write 127.0.0.1:7420, or off'];
  if (path.at(-1) === 'digest' && path[0] === 'observers')
    return [message, 'how long mails are gathered is said in the destination: digest: 5m'];
  if (types.includes('array') && typeof written === 'string') return [message, 'write [a, b]'];
  if (types.includes('string') && (typeof written === 'number' || typeof written === 'boolean'))
    return [message, 'put it in quotes'];
  return [message, null];
}

function subject(path: readonly string[]): string {
  const last = path.at(-1);
  if (last === undefined) return 'the file';
  if (/^\d+$/.test(last) && path.length > 1) {
    if (path.at(-2) === 'actions' || path[0] === 'tests')
      return path.length === 2 || path[0] !== 'tests'
        ? placeName(path)
        : `item ${Number(last) + 1} of \`${path.at(-2)}\``;
    return `item ${Number(last) + 1} of \`${path.at(-2)}\``;
  }
  return path.length === 2 ? placeName(path) : `\`${last}\``;
}

function shown(written: unknown): string {
  return typeof written === 'object' ? typeOf(written) : `\`${shortened(String(written))}\``;
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  array: 'a list',
  object: 'a mapping',
};

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (value === null) return 'nothing';
  if (typeof value === 'object') return 'a mapping';
  return typeof value === 'string' ? 'text' : typeof value === 'number' ? 'a number' : `\`${value}\``;
}

function lower(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
