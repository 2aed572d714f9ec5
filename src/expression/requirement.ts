/**
 * What must be so of an event for a condition to be anything but false: the key of an index over many conditions.
 *
 * A requirement is a set of facts, such as `new.tenant_id` being 42 or `new.total` being at least 1000, of which one must
 * hold. When none does, the part of the condition it stands for is exactly false, and so is the whole, also where another
 * part is an error: a false operand decides `&&`, on either side, and that is the only way parts are put together here
 * besides `||`, whose requirement is that of both operands. So an observer that is passed over would neither have fired nor have left an engine fault.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import type { CompiledExpression, Scope } from '../domain/expression.ts';
import { Expression } from './compile.ts';
import { isChanged, literalsOf } from './quick-test.ts';
import { eventScope } from './scope.ts';
import { equalityKey, literalOf, type Scalar, selectionOf } from './selection.ts';

export interface Subject {
  /** One name, one subject. */
  readonly name: string;
  /** What is so of this event; undefined when it can't be told, and so might be anything. */
  read(scope: Scope): readonly Scalar[] | undefined;
}

/** What has an order; null and truth values have none. */
export type Bound = string | number | bigint;

/** A bound includes itself, though `>` does not: an event on it is evaluated. What can't be compared with it is an error. */
export type Fact =
  | { readonly subject: Subject; readonly relation: 'is'; readonly value: Scalar }
  | { readonly subject: Subject; readonly relation: 'atLeast' | 'atMost'; readonly value: Bound };

export type Requirement = readonly Fact[];

/** Each of them must be met, those first that are quick to look up. None: only an evaluation can tell. */
export function requirementsOf(condition: CompiledExpression | null): readonly Requirement[] {
  return condition instanceof Expression ? conjuncts(condition.ast).sort((a, b) => costOf(a) - costOf(b)) : [];
}

/** `changed` takes longer than to parse an image, and an index asks for it on every event. */
function costOf(requirement: Requirement): number {
  if (requirement.some(({ subject }) => subject === changedSubject)) return 2;
  return requirement.some(({ relation }) => relation !== 'is') ? 1 : 0;
}

function conjuncts(node: ASTNode): Requirement[] {
  if (node.op === '&&') return [...conjuncts(node.args[0]), ...conjuncts(node.args[1])];
  const facts = factsOf(node);
  return facts === null ? [] : [facts];
}

function factsOf(node: ASTNode): Requirement | null {
  switch (node.op) {
    case '||':
      return either(best(conjuncts(node.args[0])), best(conjuncts(node.args[1])));
    case '==':
      return equality(node.args[0], node.args[1]) ?? equality(node.args[1], node.args[0]);
    case '>':
    case '>=':
      return bound(node.args[0], 'atLeast', node.args[1]) ?? bound(node.args[1], 'atMost', node.args[0]);
    case '<':
    case '<=':
      return bound(node.args[0], 'atMost', node.args[1]) ?? bound(node.args[1], 'atLeast', node.args[0]);
    case 'in':
      return isChanged(node.args[1]) ? changedFact(node.args[0]) : facts(node.args[0], literalsOf(node.args[1]));
    case 'rcall':
      return isChanged(node.args[1]) && node.args[0] === 'contains' ? changedFact(node.args[2][0]) : null;
    default:
      return null;
  }
}

function either(left: Requirement | null, right: Requirement | null): Requirement | null {
  return left === null || right === null ? null : [...left, ...right];
}

/** Under an `||` there is no telling yet which is rare: the shortest, and of these the quickest. */
function best(requirements: readonly Requirement[]): Requirement | null {
  const [first] = [...requirements].sort((a, b) => a.length - b.length || costOf(a) - costOf(b));
  return first ?? null;
}

function equality(field: ASTNode, value: ASTNode): Requirement | null {
  const literal = literalOf(value);
  return literal === undefined ? null : facts(field, [literal]);
}

function facts(field: ASTNode, values: readonly Scalar[] | null): Requirement | null {
  const subject = subjectOf(field);
  // `x in []` is false, but for an x that is an error: with no fact of it, nobody would look.
  if (subject === null || values === null || values.length === 0) return null;
  return values.map((value) => ({ subject, relation: 'is', value: equalityKey(value) }));
}

function bound(field: ASTNode, relation: 'atLeast' | 'atMost', limit: ASTNode): Requirement | null {
  const subject = subjectOf(field);
  const value = literalOf(limit);
  if (subject === null || value === undefined || value === null || typeof value === 'boolean') return null;
  return [{ subject, relation, value }];
}

function subjectOf(field: ASTNode): Subject | null {
  const selection = selectionOf(field);
  if (selection === null) return null;
  return {
    name: selection.name,
    read: (scope) => {
      const value = selection.read(eventScope(scope));
      return value === undefined ? undefined : [equalityKey(value)];
    },
  };
}

const changedSubject: Subject = { name: 'changed', read: (scope) => eventScope(scope).changed };

function changedFact(column: ASTNode | undefined): Requirement | null {
  const value = column === undefined ? undefined : literalOf(column);
  return typeof value === 'string' ? [{ subject: changedSubject, relation: 'is', value }] : null;
}
