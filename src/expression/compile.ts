import {
  type ASTNode,
  EvaluationError,
  ParseError,
  type ParseResult,
  TypeError as TypeMismatch,
} from '@marcbachmann/cel-js';
import { type CompiledExpression, ExpressionError, type Scope } from '../domain/expression.ts';
import { type StepBudget, settleEvaluation } from './absent.ts';
import { CompileError, didYouMean } from './compile-error.ts';
import { deliveryFields, environment, eventFields, variables } from './environment.ts';
import { type QuickTest, quickTest } from './quick-test.ts';
import { type EventScope, eventScope } from './scope.ts';
import { settleSyntax, visits } from './syntax.ts';

/** Characters of one expression. */
export const longestSource = 4096;

/** Parsed, checked and ready to run on any number of events. */
export class Expression implements CompiledExpression {
  readonly source: string;
  /** CEL's name for the type: `bool`, `string`, `dyn` when only an event can tell, … */
  readonly type: string;
  readonly ast: ASTNode;
  readonly #run: ParseResult;
  readonly #budget: StepBudget | null;
  readonly #quick: QuickTest | null;

  constructor(source: string, parsed: ParseResult, type: string, budget: StepBudget | null) {
    this.source = source;
    this.type = type;
    this.ast = parsed.ast;
    this.#run = parsed;
    this.#budget = budget;
    this.#quick = quickTest(parsed.ast);
  }

  evaluate(scope: Scope): unknown {
    const variables = eventScope(scope);
    try {
      return this.#quick?.(variables) ?? this.#evaluateFully(variables);
    } catch (error) {
      throw evaluationFailure(error, this.source);
    }
  }

  /** By cel-js alone, which has the last word on what an expression means. @throws ExpressionError */
  evaluateFully(scope: Scope): unknown {
    try {
      return this.#evaluateFully(eventScope(scope));
    } catch (error) {
      throw evaluationFailure(error, this.source);
    }
  }

  #evaluateFully(variables: EventScope): unknown {
    this.#budget?.refill();
    return this.#run(variables);
  }
}

/**
 * A value: an ordering key, what a template inserts.
 * @throws CompileError
 */
export function compileExpression(source: string): CompiledExpression {
  return beforeDelivery(compile(source));
}

/**
 * A condition: an expression whose checked type is bool, or unknown until an event is at hand. It fires as `fires` says.
 * @throws CompileError
 */
export function compileCondition(source: string): CompiledExpression {
  return requireCondition(compile(source));
}

/** Exactly `true` fires: a text, a number or null does not. */
export function fires(value: unknown): boolean {
  return value === true;
}

/** @param longest characters; more only for sources that a condition tree wrote */
export function compile(source: string, longest = longestSource): Expression {
  if (source.length > longest) {
    throw new CompileError(`the expression has ${source.length} characters, the limit is ${longest}`, {
      offset: longest,
    });
  }
  if (source.trim() === '') throw new CompileError('the expression is empty');
  try {
    const parsed = environment.parse(source);
    settleSyntax(parsed.ast);
    const { valid, type = 'dyn', error } = parsed.check();
    if (!valid) throw error ?? new CompileError('the expression is invalid');
    return new Expression(source, parsed, type, settleEvaluation(parsed.ast));
  } catch (error) {
    throw compileFailure(error, source);
  }
}

export function requireCondition(expression: Expression): Expression {
  const { type } = beforeDelivery(expression);
  if (type === 'bool' || type === 'dyn') return expression;
  throw new CompileError(`a condition is true or false, but this is of type ${type}`, {
    hint: 'compare it with something, as in new.status == "paid"',
  });
}

/** Conditions and ordering keys decide whether there is a delivery at all. */
function beforeDelivery(expression: Expression): Expression {
  for (const { node } of visits(expression.ast)) {
    if (node.op === 'id' && node.args === 'delivery')
      throw new CompileError('`delivery` is there in actions only', {
        offset: node.start,
        hint: 'here there is none yet: event, new, old, changed, payload',
      });
  }
  return expression;
}

function compileFailure(error: unknown, source: string): CompileError {
  if (error instanceof CompileError) return error;
  if (error instanceof ParseError || error instanceof TypeMismatch || error instanceof EvaluationError) {
    const offset = error.node?.pos ?? error.range?.start ?? 0;
    const hint = hintFor(error.code, error.summary, source, offset);
    return new CompileError(readable(error.summary), { offset, hint, cause: error });
  }
  // The stack, on nesting that the limits let pass: not a bug of the one who wrote it.
  if (error instanceof RangeError) return new CompileError('nested too deeply', { cause: error });
  // cel-js also throws plain errors, e.g. for overlapping overloads: still the expression's problem, not a crash.
  return new CompileError(error instanceof Error ? error.message : String(error), { cause: error });
}

const tokenNames: Readonly<Record<string, string>> = {
  EOF: 'the end of the expression',
  IDENTIFIER: 'a name',
  NUMBER: 'a number',
  STRING: 'a text',
  LPAREN: '(',
  RPAREN: ')',
  LBRACKET: '[',
  RBRACKET: ']',
  LBRACE: '{',
  RBRACE: '}',
  COMMA: ',',
  COLON: ':',
  DOT: '.',
  QUESTION: '?',
};

function readable(summary: string): string {
  if (!/^(Expected|Unexpected token)/.test(summary)) return summary;
  return summary.replace(/\b[A-Z]{3,}\b/g, (token) => tokenNames[token] ?? token);
}

function hintFor(code: string, summary: string, source: string, offset: number): string | null {
  const name = /^[A-Za-z_]\w*/.exec(source.slice(offset))?.[0] ?? '';
  if (code === 'unknown_variable') return didYouMean(name, variables) ?? `a column is new.${name} or old.${name}`;
  if (code === 'no_such_key') return didYouMean(name, [...Object.keys(eventFields), ...Object.keys(deliveryFields)]);
  if (code === 'unexpected_character') {
    if (source[offset] === '=') return 'equality is ==';
    if (source[offset] === '&' || source[offset] === '|') return 'and is &&, or is ||';
    const word = name.toLowerCase();
    if (word === 'and' || word === 'or') return `${word} is ${word === 'and' ? '&&' : '||'}`;
  }
  if (/^no such overload: double (==|!=) string|string (==|!=) (int|double)/.test(summary))
    return 'quotes make it a text';
  return null;
}

/** Never anything but an ExpressionError leaves an evaluation: the event becomes a dead letter and the stream goes on. */
export function evaluationFailure(error: unknown, source: string): ExpressionError {
  if (error instanceof ExpressionError) return error;
  if (error instanceof EvaluationError) {
    const offset = error.node?.pos ?? error.range?.start;
    const place = offset === undefined ? '' : ` at character ${offset + 1}`;
    return new ExpressionError(`${error.summary}${place} of ${excerpt(source)}`, source, { cause: error });
  }
  const reason = error instanceof Error ? error.message : String(error);
  return new ExpressionError(`${reason} in ${excerpt(source)}`, source, { cause: error });
}

function excerpt(source: string): string {
  const line = source.trim().replace(/\s+/g, ' ');
  return line.length <= 120 ? line : `${line.slice(0, 119)}…`;
}
