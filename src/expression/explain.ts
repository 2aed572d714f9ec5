/**
 * Why a condition is true or false: the value of each of its parts, in the order in which they are looked at. For people; nothing
 * on the way of an event comes here.
 *
 * What && || ! and ?: make of their parts is put together here; every other part is evaluated by itself, by the evaluator that
 * decides. A property test holds the whole against the compiled condition.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import { type CompiledExpression, ExpressionError, type Scope } from '../domain/expression.ts';
import { compile, Expression } from './compile.ts';
import { exactPath, resolveExactly } from './exact-path.ts';
import { rawMembers } from './json.ts';
import { toJson } from './print.ts';
import { type EventScope, eventScope } from './scope.ts';
import { literalOf } from './selection.ts';
import { partOf } from './source-range.ts';

/**
 * - `value`: neither true nor false; a condition that is so does not fire, and as a part of another it is an error
 * - `skipped`: not evaluated, what stands before it decided
 */
export type Verdict = 'true' | 'false' | 'error' | 'value' | 'skipped';

export interface Explained {
  readonly source: string;
  readonly verdict: Verdict;
  /** How `parts` make up the whole; null: it has none. */
  readonly operator: 'all' | 'any' | 'not' | 'if' | null;
  readonly parts: readonly Explained[];
  /** What it read: of a part without parts. */
  readonly values: readonly ReadValue[];
  /** Only of an `error`. */
  readonly error: string | null;
}

export interface ReadValue {
  /** As written: `new.total`. */
  readonly of: string;
  /** JSON text, numbers digit for digit; null when the event has nothing there. */
  readonly json: string | null;
}

/** @param condition as `compileCondition` or `compileTree` made it */
export function explainCondition(condition: CompiledExpression, scope: Scope): Explained {
  const expression = condition instanceof Expression ? condition : compile(condition.source, Number.POSITIVE_INFINITY);
  return explain(expression.ast, expression.source, eventScope(scope));
}

function explain(node: ASTNode, source: string, scope: EventScope): Explained {
  switch (node.op) {
    case '&&':
      return chain(node, source, scope, 'all');
    case '||':
      return chain(node, source, scope, 'any');
    case '!_':
      return negation(node, node.args, source, scope);
    case '?:':
      return choice(node, node.args, source, scope);
    default:
      return single(node, source, scope);
  }
}

const opposite: Readonly<Record<Verdict, Verdict>> = {
  true: 'false',
  false: 'true',
  error: 'error',
  value: 'error',
  skipped: 'skipped',
};

/** `a && b && c`: the first false one decides, an error before it or not. */
function chain(node: ASTNode, source: string, scope: EventScope, operator: 'all' | 'any'): Explained {
  const decides = operator === 'all' ? 'false' : 'true';
  const parts: Explained[] = [];
  let decided = false;
  for (const link of linksOf(node, node.op)) {
    const part: Explained = decided ? skipped(link, source) : explain(link, source, scope);
    parts.push(part);
    decided ||= part.verdict === decides;
  }
  const failed = parts.find(({ verdict }) => verdict === 'error' || verdict === 'value');
  if (decided) return whole(node, source, operator, parts, decides);
  return whole(node, source, operator, parts, failed === undefined ? (operator === 'all' ? 'true' : 'false') : 'error');
}

function linksOf(node: ASTNode, operator: string): readonly ASTNode[] {
  if (node.op !== operator || (node.op !== '&&' && node.op !== '||')) return [node];
  return node.args.flatMap((side) => linksOf(side, operator));
}

function negation(node: ASTNode, operand: ASTNode, source: string, scope: EventScope): Explained {
  const part = explain(operand, source, scope);
  return whole(node, source, 'not', [part], opposite[part.verdict]);
}

function choice(
  node: ASTNode,
  [test, yes, no]: readonly [ASTNode, ASTNode, ASTNode],
  source: string,
  scope: EventScope,
): Explained {
  const tested = explain(test, source, scope);
  const first = tested.verdict === 'true' ? explain(yes, source, scope) : skipped(yes, source);
  const second = tested.verdict === 'false' ? explain(no, source, scope) : skipped(no, source);
  const taken = [first, second].find(({ verdict }) => verdict !== 'skipped');
  return whole(node, source, 'if', [tested, first, second], taken?.verdict ?? 'error');
}

function whole(
  node: ASTNode,
  source: string,
  operator: 'all' | 'any' | 'not' | 'if',
  parts: readonly Explained[],
  verdict: Verdict,
): Explained {
  const failed = parts.find((part) => part.verdict === 'error' || part.verdict === 'value');
  const error =
    verdict !== 'error' ? null : (failed?.error ?? `${failed?.source ?? 'a part'} is neither true nor false`);
  return { source: textOf(node, source), verdict, operator, parts, values: [], error };
}

function skipped(node: ASTNode, source: string): Explained {
  return { source: textOf(node, source), verdict: 'skipped', operator: null, parts: [], values: [], error: null };
}

function single(node: ASTNode, source: string, scope: EventScope): Explained {
  const text = textOf(node, source);
  const { verdict, error } = judge(text, scope);
  return { source: text, verdict, operator: null, parts: [], values: valuesIn(node, source, scope), error };
}

function judge(text: string, scope: EventScope): { readonly verdict: Verdict; readonly error: string | null } {
  try {
    const value = compile(text, Number.POSITIVE_INFINITY).evaluate(scope);
    return { verdict: typeof value === 'boolean' ? (value ? 'true' : 'false') : 'value', error: null };
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    return { verdict: 'error', error: error.message };
  }
}

function textOf(node: ASTNode, source: string): string {
  return partOf(source, node) ?? source.slice(node.start, node.end);
}

/** Beyond so many, the reader looks at the event itself. */
const mostValues = 8;

/** What the part reads of the event, and what it computes before it compares. */
function valuesIn(node: ASTNode, source: string, scope: EventScope): readonly ReadValue[] {
  const values = new Map<string, ReadValue>();
  const add = (part: ASTNode): void => {
    const of = textOf(part, source);
    if (!values.has(of) && values.size < mostValues) values.set(of, { of, json: readJson(part, of, scope) });
  };
  if (isComparison(node)) for (const side of node.args) if (isComputed(side)) add(side);
  for (const read of readsIn(node, new Set())) add(read);
  return [...values.values()];
}

const comparisons: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>=', 'in']);

function isComparison(node: ASTNode): node is ASTNode & { readonly args: readonly [ASTNode, ASTNode] } {
  return comparisons.has(node.op);
}

function isComputed(node: ASTNode): boolean {
  return (
    !isRead(node, new Set()) &&
    node.op !== 'list' &&
    node.op !== 'map' &&
    literalOf(node) === undefined &&
    node.op !== 'value'
  );
}

const roots: ReadonlySet<string> = new Set(['new', 'old', 'payload', 'event', 'changed']);

/** new.total, changed, payload.items[0]: a selection, of which the whole is of interest and not its steps. */
function isRead(node: ASTNode, hidden: ReadonlySet<string>): boolean {
  if (node.op === 'id') return roots.has(node.args) && !hidden.has(node.args);
  if (node.op === '.') return isRead(node.args[0], hidden);
  return node.op === '[]' && node.args[1].op === 'value' && isRead(node.args[0], hidden);
}

/** @param hidden names of loops around it, which stand for elements here */
function* readsIn(node: ASTNode, hidden: ReadonlySet<string>): Generator<ASTNode> {
  if (isRead(node, hidden)) {
    yield node;
    return;
  }
  if (node.op === 'rcall') {
    const [, receiver, args] = node.args;
    yield* readsIn(receiver, hidden);
    const names = args.length > 1 ? args.flatMap((argument) => (argument.op === 'id' ? [argument.args] : [])) : [];
    const inside = new Set([...hidden, ...names]);
    for (const argument of args)
      if (!(argument.op === 'id' && inside.has(argument.args))) yield* readsIn(argument, inside);
    return;
  }
  for (const child of childrenOf(node)) yield* readsIn(child, hidden);
}

function childrenOf(node: ASTNode): readonly ASTNode[] {
  if (node.op === 'call') return node.args[1];
  const args: unknown = node.args;
  return [args]
    .flat(3)
    .filter((child): child is ASTNode => typeof child === 'object' && child !== null && 'op' in child);
}

function readJson(node: ASTNode, text: string, scope: EventScope): string | null {
  const path = exactPath(node);
  if (path !== null && path.steps.length === 1 && path.root !== 'context') {
    const [column] = path.steps;
    const image = scope.text(path.root);
    if (image === null || (typeof column === 'string' && /^\s*\{/.test(image) && !rawMembers(image).has(column)))
      return null;
  }
  try {
    const exact = path === null ? undefined : resolveExactly(path, scope);
    const value = exact === undefined ? compile(text, Number.POSITIVE_INFINITY).evaluate(scope) : exact;
    // JSON has no word for 1.0 / 0.0, and the null that stands for it elsewhere would explain the opposite.
    return typeof value === 'number' && !Number.isFinite(value) ? JSON.stringify(String(value)) : toJson(value);
  } catch {
    // The part that reads it tells of the error.
    return null;
  }
}
