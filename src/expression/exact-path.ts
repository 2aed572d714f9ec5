import type { ASTNode } from '@marcbachmann/cel-js';
import { isLosslessNumber } from './json.ts';
import type { EventScope, JsonVariable } from './scope.ts';

/** A selection and nothing else, as in new.total or payload.items[0].price: its value can be printed digit for digit. */
export interface ExactPath {
  readonly root: JsonVariable;
  readonly steps: readonly (string | number)[];
}

/** @returns null when the expression computes something */
export function exactPath(ast: ASTNode): ExactPath | null {
  const steps: (string | number)[] = [];
  let node = ast;
  while (node.op === '.' || node.op === '[]') {
    const step = node.op === '.' ? node.args[1] : literalStep(node.args[1]);
    if (step === null) return null;
    steps.unshift(step);
    node = node.args[0];
  }
  if (node.op !== 'id') return null;
  if (node.args === 'event' && steps[0] === 'context') return { root: 'context', steps: steps.slice(1) };
  const root = node.args;
  return root === 'new' || root === 'old' || root === 'payload' ? { root, steps } : null;
}

function literalStep(node: ASTNode): string | number | null {
  if (node.op !== 'value') return null;
  if (typeof node.args === 'string') return node.args;
  return typeof node.args === 'bigint' ? Number(node.args) : null;
}

/** The value with exact numbers; undefined where evaluation has the say, e.g. on a field of a text, which is an error. */
export function resolveExactly({ root, steps }: ExactPath, scope: EventScope): unknown {
  if (root === 'context' && scope.text('context') === null) return undefined;
  let value = scope.exact(root);
  for (const step of steps) {
    if (value === null) return null;
    if (typeof value !== 'object' || isLosslessNumber(value)) return undefined;
    if (Array.isArray(value) !== (typeof step === 'number')) return undefined;
    const members = value as Readonly<Record<string | number, unknown>>;
    value = Object.hasOwn(members, step) ? members[step] : null;
  }
  return value;
}
