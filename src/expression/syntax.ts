/**
 * What is checked and rewritten in a parsed expression before cel-js type-checks it: names get a "did you mean", patterns
 * are compiled, depth and loops are bounded.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import { RE2JS } from 're2js';
import { CompileError, didYouMean } from './compile-error.ts';
import { functionNames } from './environment.ts';
import { durationInHours } from './time.ts';

/** Operators, calls and selections inside one another; `a && b && …` counts too. cel-js checks and evaluates by recursion. */
const deepestTree = 250;

/** A loop in a loop is as far as it goes: every level multiplies the time by the length of a list. */
const deepestLoops = 2;

/** Characters. RE2 matches in linear time, but a long pattern with many repeats takes seconds to compile. */
const longestPattern = 1000;

const loops = new Set(['all', 'exists', 'exists_one', 'map', 'filter']);

/** The parts of an AST node that cel-js's types declare read-only: they are settled here, before anything reads them. */
interface Rewritable {
  op: string;
  args: unknown;
}

interface Visit {
  readonly node: ASTNode;
  readonly depth: number;
  readonly loops: number;
}

/** @throws CompileError */
export function settleSyntax(root: ASTNode): void {
  for (const { node, depth, loops: inside } of visits(root)) {
    if (depth > deepestTree) throw at(node, `nested too deeply (more than ${deepestTree} levels)`);
    if (node.op === 'call') settleCall(node, node.args[0], node.args[1]);
    else if (node.op === 'rcall') settleMethod(node, node.args[0], node.args[2], inside);
    // The namespace of `cel.bind`, which can double a list at every step: 2^n elements from n bindings.
    else if (node.op === 'id' && node.args === 'cel') throw at(node, 'Unknown variable: cel');
  }
}

/** Every node as written, the outer before the inner, without recursion: hostile nesting must not reach the stack. */
export function* visits(root: ASTNode): Generator<Visit> {
  const pending: Visit[] = [{ node: root, depth: 1, loops: 0 }];
  for (let visit = pending.pop(); visit !== undefined; visit = pending.pop()) {
    yield visit;
    const { node, depth } = visit;
    const body = node.op === 'rcall' && isLoop(node.args[0], node.args[2]) ? new Set(node.args[2]) : null;
    for (const child of children(node)) {
      pending.push({ node: child, depth: depth + 1, loops: visit.loops + (body?.has(child) ? 1 : 0) });
    }
  }
}

function children(node: ASTNode): readonly ASTNode[] {
  switch (node.op) {
    case 'value':
    case 'id':
      return [];
    case '.':
    case '.?':
      return [node.args[0]];
    case 'call':
      return node.args[1];
    case 'rcall':
      return [node.args[1], ...node.args[2]];
    case 'map':
      return node.args.flat();
    case '!_':
    case '-_':
      return [node.args];
    default:
      return node.args;
  }
}

function isLoop(name: string, args: readonly ASTNode[]): boolean {
  return loops.has(name) && args.length >= 2;
}

function settleCall(node: ASTNode, name: string, args: readonly ASTNode[]): void {
  assertFunction(node, name);
  if (name === 'has') letParentsBeAbsent(args[0]);
  if (name === 'duration') settleDuration(node, args);
}

function settleMethod(node: ASTNode, name: string, args: readonly ASTNode[], inside: number): void {
  const receiver = (node.args as unknown as [string, ASTNode])[1];
  assertFunction(node, name, node.input.indexOf(name, receiver.end));
  if (isLoop(name, args) && inside >= deepestLoops) {
    throw at(node, `${name}() is nested too deeply: a loop in a loop is the limit`);
  }
  if (name === 'matches') compilePattern(node, args);
  if (name === 'getDayOfYear') (node.args as unknown[])[0] = 'yearDay';
}

function assertFunction(node: ASTNode, name: string, offset = node.pos): void {
  if (functionNames.has(name) && name !== 'bind') return;
  throw new CompileError(`Unknown function: ${name}`, { offset, hint: didYouMean(name, functionNames) });
}

/**
 * The literal becomes the compiled pattern itself, which selects our `matches(Pattern)`: cel-js's own `matches(string)`
 * is a JavaScript RegExp, which takes seconds for (a+)+$ on 28 characters, and can't be registered anew.
 */
function compilePattern(node: ASTNode, args: readonly ASTNode[]): void {
  const pattern = args[0];
  if (args.length !== 1 || pattern?.op !== 'value' || typeof pattern.args !== 'string') {
    throw at(
      pattern ?? node,
      'matches() takes one pattern, written as a literal text',
      'patterns can’t come from data',
    );
  }
  if (pattern.args.length > longestPattern) {
    throw at(pattern, `the pattern is longer than ${longestPattern} characters`);
  }
  try {
    (pattern as Rewritable).args = RE2JS.compile(pattern.args);
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^error parsing regexp: /, '') : String(error);
    throw at(pattern, `invalid pattern: ${reason}`, 'RE2 syntax: no look-around, no back-references');
  }
}

/** Checked at load, and days are made hours; cel-js's parser of durations takes quadratic time on a hostile text. */
function settleDuration(node: ASTNode, args: readonly ASTNode[]): void {
  const literal = args[0];
  if (args.length !== 1 || literal?.op !== 'value' || typeof literal.args !== 'string') {
    throw at(literal ?? node, 'duration() takes one literal text', 'such as duration("1d12h")');
  }
  const hours = durationInHours(literal.args);
  if (hours === null)
    throw at(literal, `not a duration: ${JSON.stringify(literal.args)}`, 'such as "1d12h", "90s", "1.5h"');
  (literal as Rewritable).args = hours;
}

/** `has(payload.a.b)` is false, not an error, when `a` is missing already. */
function letParentsBeAbsent(argument: ASTNode | undefined): void {
  let node = argument?.op === '.' ? argument.args[0] : undefined;
  while (node?.op === '.') {
    (node as Rewritable).op = '.?';
    node = node.args[0];
  }
}

function at(node: ASTNode, message: string, hint: string | null = null): CompileError {
  return new CompileError(message, { offset: node.start, hint });
}
