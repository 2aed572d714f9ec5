/** What a comparison reads: a selection from the event's variables, or a literal. */
import type { ASTNode } from '@marcbachmann/cel-js';
import type { EventScope, RowImage } from './scope.ts';

/** A value that `==` compares without looking inside. */
export type Scalar = string | number | bigint | boolean | null;

/** Of an event: its value as cel-js would select it; undefined when only cel-js can tell (a list, a map, an error). */
export type Read = (scope: EventScope) => Scalar | undefined;

export interface Selection {
  /** The same for every way to write it: new.a and new["a"]. */
  readonly name: string;
  readonly read: Read;
}

/** new.status, payload.items[0].price, event.tenant. @returns null for anything computed */
export function selectionOf(ast: ASTNode): Selection | null {
  const steps: (string | number)[] = [];
  let node = ast;
  while (node.op === '.' || node.op === '[]') {
    const step = node.op === '.' ? node.args[1] : stepOf(node.args[1]);
    if (step === null) return null;
    steps.unshift(step);
    node = node.args[0];
  }
  if (node.op !== 'id') return null;
  const read = node.args === 'event' ? eventRead(steps) : imageRead(node.args, steps);
  return read === null ? null : { name: JSON.stringify([node.args, ...steps]), read };
}

function stepOf(node: ASTNode): string | number | null {
  const value = literalOf(node);
  if (typeof value === 'string') return value;
  return typeof value === 'bigint' ? Number(value) : null;
}

/** A literal scalar, also a negative number; undefined for any other expression. */
export function literalOf(node: ASTNode): Scalar | undefined {
  if (node.op === '-_') {
    const value = literalOf(node.args);
    return typeof value === 'number' || typeof value === 'bigint' ? -value : undefined;
  }
  return node.op === 'value' ? scalar(node.args) : undefined;
}

const roots = ['new', 'old', 'payload'] as const;
type Root = (typeof roots)[number];

function imageRead(name: string, steps: readonly (string | number)[]): Read | null {
  const root = roots.find((one) => one === name);
  if (root === undefined) return null;
  const [only] = steps;
  // What nearly every condition reads. Own, or inherited by every object: only then it matters which.
  if (steps.length === 1 && typeof only === 'string' && !(only in Object.prototype)) {
    const read = columnRead(root, only);
    return root === 'payload' || !/^\w+$/.test(only) ? read : peeking(root, `"${only}"`, read);
  }
  return (scope) => scalar(follow(scope[root], steps));
}

/** Of an event that nobody cares for, one column may be all that is ever read. */
function peeking(image: RowImage, quoted: string, read: Read): Read {
  return (scope) => {
    const value = scope.peek(image, quoted);
    return value === undefined ? read(scope) : value;
  };
}

function columnRead(root: Root, column: string): Read {
  return (scope) => {
    const row = scope[root];
    if (row === null) return null;
    if (typeof row !== 'object' || Object.getPrototypeOf(row) !== Object.prototype) return undefined;
    const value = (row as Readonly<Record<string, unknown>>)[column];
    return value === undefined ? null : scalar(value);
  };
}

const ownFields = ['id', 'source', 'operation', 'table', 'key', 'tenant', 'at'] as const;

function eventRead(steps: readonly (string | number)[]): Read | null {
  const [field, ...rest] = steps;
  if (field === 'context') return (scope) => scalar(follow(scope.context ?? {}, rest));
  const own = ownFields.find((name) => name === field);
  if (own === undefined || rest.length > 0) return null;
  return (scope) => scope.event[own];
}

function follow(root: unknown, steps: readonly (string | number)[]): unknown {
  let value = root;
  for (const step of steps) value = member(value, step);
  return value;
}

/** Absent is null, as in absent.ts; undefined where cel-js has the say, e.g. on a field of a text, which is an error. */
function member(value: unknown, step: string | number): unknown {
  if (value === null) return null;
  if (typeof value !== 'object') return undefined;
  if (Array.isArray(value)) return typeof step === 'number' ? (step in value ? value[step] : null) : undefined;
  if (typeof step !== 'string' || Object.getPrototypeOf(value) !== Object.prototype) return undefined;
  return Object.hasOwn(value, step) ? (value as Readonly<Record<string, unknown>>)[step] : null;
}

function scalar(value: unknown): Scalar | undefined {
  return typeof value === 'object' && value !== null ? undefined : (value as Scalar | undefined);
}

/**
 * One key for all numbers that are equal, so that a Map finds what `==` does: 100, 100.00 and 1e2 are one double already,
 * and an integer beyond 2^53 equals a double when that holds exactly it.
 */
export function equalityKey(value: Scalar): Scalar {
  if (typeof value !== 'bigint') return value;
  const double = Number(value);
  return Number.isFinite(double) && BigInt(double) === value ? double : value;
}
