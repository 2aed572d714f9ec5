/**
 * Conditions as YAML: sugar for an expression. A tree is written out as CEL and compiled by the same compiler, so both
 * forms mean the same by construction; what is missing or null behaves as environment.ts says.
 *
 *     all: [tree, …]           every one             any: [tree, …]      at least one
 *     not: tree                                      changed: column     or a list: at least one of them, as UPDATE OF
 *     new.status: paid         equality; also old., payload., event.; new["odd name"] for odd names
 *     new.total: { gte: 500, lt: 1000 }              eq ne gt gte lt lte in not_in matches contains starts_with
 *                                                    ends_with exists (true: there and not null)
 *
 * Several keys in one map are and-ed.
 */
import type { CompiledExpression } from '../domain/expression.ts';
import { compile, requireCondition } from './compile.ts';
import { CompileError, didYouMean, type ValuePath } from './compile-error.ts';
import { literal, quote } from './literal.ts';
import { fieldSource, isFieldKey } from './tree-field.ts';

/** Characters of the expression that a tree is written out as: more than a person writes, for long `in` lists. */
const longestTreeSource = 64 * 1024;

const deepestTree = 32;

const combinators = ['all', 'any', 'not', 'changed'] as const;

/**
 * The condition that a YAML tree stands for. Its `source` is the expression.
 * @throws CompileError with the path to what is wrong in the tree
 */
export function compileTree(tree: unknown): CompiledExpression {
  return requireCondition(compile(sourceOf(tree, []), longestTreeSource));
}

function sourceOf(tree: unknown, path: ValuePath): string {
  if (path.length > deepestTree)
    throw new CompileError(`nested too deeply (more than ${deepestTree} levels)`, { path });
  if (!isMap(tree)) {
    const hint = Array.isArray(tree) ? 'say all: or any: above the list' : 'such as new.status: paid';
    throw new CompileError('a condition is a map', { path, hint });
  }
  const keys = Object.keys(tree);
  if (keys.length === 0) throw new CompileError('the condition is empty', { path });
  return join(
    keys.map((key) => memberSource(key, tree[key], [...path, key])),
    '&&',
  );
}

function memberSource(key: string, value: unknown, path: ValuePath): string {
  switch (key) {
    case 'all':
    case 'any':
      return join(
        listOf(value, path).map((tree, index) => sourceOf(tree, [...path, index])),
        key === 'all' ? '&&' : '||',
      );
    case 'not':
      return `!(${sourceOf(value, path)})`;
    case 'changed':
      return changedSource(value, path);
  }
  if (isFieldKey(key)) return fieldCondition(key, value, path);
  const hint = didYouMean(key, combinators) ?? `a column is new.${key} or old.${key}`;
  throw new CompileError(`Unknown condition: ${key}`, { path, hint });
}

function changedSource(value: unknown, path: ValuePath): string {
  const names = Array.isArray(value) ? listOf(value, path) : [value];
  const tests = names.map((name, index) => {
    if (typeof name === 'string' && name !== '') return `${quote(name)} in changed`;
    throw new CompileError('changed takes the name of a column or a list of them', {
      path: Array.isArray(value) ? [...path, index] : path,
    });
  });
  return join(tests, '||');
}

function fieldCondition(key: string, value: unknown, path: ValuePath): string {
  const field = fieldSource(key, path);
  if (Array.isArray(value)) {
    throw new CompileError(`${key} can’t equal a list`, { path, hint: 'one of several values is { in: [ … ] }' });
  }
  if (!isMap(value)) return leaf(`${field} == ${literal(value, path)}`, path);
  const names = Object.keys(value);
  if (names.length === 0) throw new CompileError('the condition is empty', { path });
  return join(
    names.map((name) => operatorSource(field, name, value[name], [...path, name])),
    '&&',
  );
}

type OperatorWriter = (field: string, value: unknown, path: ValuePath) => string;

const operators: Readonly<Record<string, OperatorWriter>> = {
  eq: (field, value, path) => `${field} == ${literal(value, path)}`,
  ne: (field, value, path) => `${field} != ${literal(value, path)}`,
  gt: (field, value, path) => `${field} > ${orderable(value, path)}`,
  gte: (field, value, path) => `${field} >= ${orderable(value, path)}`,
  lt: (field, value, path) => `${field} < ${orderable(value, path)}`,
  lte: (field, value, path) => `${field} <= ${orderable(value, path)}`,
  in: (field, value, path) => `${field} in ${literals(value, path)}`,
  not_in: (field, value, path) => `!(${field} in ${literals(value, path)})`,
  matches: (field, value, path) => `${field}.matches(${text(value, path)})`,
  contains: (field, value, path) => `${field}.contains(${literal(value, path)})`,
  starts_with: (field, value, path) => `${field}.startsWith(${text(value, path)})`,
  ends_with: (field, value, path) => `${field}.endsWith(${text(value, path)})`,
  exists: (field, value, path) => {
    if (typeof value !== 'boolean') throw new CompileError('exists is true or false', { path });
    return `${field} ${value ? '!=' : '=='} null`;
  },
};

function operatorSource(field: string, name: string, value: unknown, path: ValuePath): string {
  const write = Object.hasOwn(operators, name) ? operators[name] : undefined;
  if (write !== undefined) return leaf(write(field, value, path), path);
  const known = Object.keys(operators);
  throw new CompileError(`Unknown operator: ${name}`, {
    path,
    hint: didYouMean(name, known) ?? `one of ${known.join(', ')}`,
  });
}

/** Compiled by itself first: an error then has the path of the one key that is wrong. */
function leaf(source: string, path: ValuePath): string {
  try {
    compile(source, longestTreeSource);
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    // The offset counts in a source that nobody wrote: the path says it better.
    throw new CompileError(error.message, { path, hint: error.hint, cause: error });
  }
  return source;
}

function orderable(value: unknown, path: ValuePath): string {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint') return literal(value, path);
  throw new CompileError('only numbers and texts have an order', { path });
}

function text(value: unknown, path: ValuePath): string {
  if (typeof value === 'string') return quote(value);
  throw new CompileError('takes a text', { path, hint: 'quotes make it one' });
}

function literals(value: unknown, path: ValuePath): string {
  return `[${listOf(value, path)
    .map((item, index) => literal(item, [...path, index]))
    .join(', ')}]`;
}

function listOf(value: unknown, path: ValuePath): readonly unknown[] {
  if (Array.isArray(value) && value.length > 0) return value;
  throw new CompileError('takes a list with at least one element', { path });
}

function join(sources: readonly string[], operator: '&&' | '||'): string {
  return sources.length === 1 ? (sources[0] ?? '') : `(${sources.join(` ${operator} `)})`;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
