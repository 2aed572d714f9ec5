import { ParseError } from '@marcbachmann/cel-js';
import { compile, type Expression, longestSource } from './compile.ts';
import { CompileError } from './compile-error.ts';

const opening = '${{';
const closing = '}}';

export function holdsExpression(text: string): boolean {
  return text.includes(opening);
}

/**
 * The literal texts and expressions of a string, in order; no empty texts.
 * @throws CompileError whose offset counts in the whole string
 */
export function splitTemplate(text: string): readonly (string | Expression)[] {
  const parts: (string | Expression)[] = [];
  let at = 0;
  for (let open = text.indexOf(opening); open >= 0; open = text.indexOf(opening, at)) {
    if (open > at) parts.push(text.slice(at, open));
    const { expression, end } = expressionAt(text, open + opening.length);
    parts.push(expression);
    at = end + closing.length;
  }
  if (at < text.length) parts.push(text.slice(at));
  return parts;
}

/**
 * CEL may hold `}}` itself, in a text or as two closing maps, so the end is the first `}}` up to which it parses. If there
 * is none, the error of the shortest attempt is the one that makes sense.
 */
function expressionAt(text: string, from: number): { readonly expression: Expression; readonly end: number } {
  let firstError: CompileError | null = null;
  for (let end = text.indexOf(closing, from); end >= 0; end = text.indexOf(closing, end + 1)) {
    if (end - from > longestSource) break;
    try {
      return { expression: compile(text.slice(from, end)), end };
    } catch (error) {
      if (!(error instanceof CompileError)) throw error;
      firstError ??= error.within([], from);
      // It parsed, so it ends here, whatever else is wrong with it.
      if (!(error.cause instanceof ParseError)) break;
    }
  }
  if (firstError !== null) throw firstError;
  const tooLong = text.indexOf(closing, from) >= 0;
  throw new CompileError(tooLong ? `the expression is longer than ${longestSource} characters` : 'unterminated ${{', {
    offset: from - opening.length,
    hint: tooLong ? null : 'an expression ends with }}',
  });
}
