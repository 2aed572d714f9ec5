import type { CompiledExpression, Template, TemplateMode, UrlTemplate } from '../domain/expression.ts';
import type { OnDead } from '../domain/rules.ts';
import type { StatementTemplate } from '../domain/sql.ts';
import {
  CompileError,
  compileCondition,
  compileExpression,
  compileStatement,
  compileTemplate,
  compileTree,
  compileUrl,
} from '../expression/index.ts';
import type { Field } from './field.ts';
import type { Path } from './pointer.ts';
import type { Substitution } from './variables.ts';

/** Conditions, ordering keys and templates, with their errors at the character in the file. */

export function readCondition(field: Field): CompiledExpression | null {
  const { value } = field;
  if (typeof value === 'string') return value === '' ? null : compiled(field, () => compileCondition(value));
  return field.present && typeof value === 'object' ? compiled(field, () => compileTree(value)) : null;
}

/** `order_by: key`, or `order_by: { expression: key, on_dead: block }`. */
export function readOrdering(field: Field): { orderBy: CompiledExpression | null; onDead: OnDead } {
  if (field.text() !== undefined) return { orderBy: readOrderBy(field), onDead: 'skip' };
  const onDead = field.get('on_dead').text() === 'block' ? 'block' : 'skip';
  return { orderBy: readOrderBy(field.get('expression')), onDead };
}

function readOrderBy(field: Field): CompiledExpression | null {
  const text = field.text();
  if (text === undefined) return null;
  // `key` is so common that it has a word of its own.
  return compiled(field, () => compileExpression(text === 'key' ? 'event.key' : text));
}

export function readTemplate(field: Field, mode: TemplateMode): Template | null {
  if (field.value === undefined) return null;
  return compiled(field, () => compileTemplate(field.value, mode, (path, offset) => placeOf(field, path, offset)));
}

export function readUrlTemplate(field: Field): UrlTemplate | null {
  const text = field.text();
  return text === undefined ? null : compiled(field, () => compileUrl(text));
}

/** SQL, with parameters where its expressions stand. */
export function readStatement(field: Field): StatementTemplate | null {
  const text = field.text();
  return text === undefined ? null : compiled(field, () => compileStatement(text));
}

/** For errors that an event brings to light. */
function placeOf(field: Field, path: Path, offset: number): string {
  const { document, problems } = field.draft;
  const place = path.reduce((at, step) => at.get(step), field);
  const { line, column } = document.characterPosition(place.path, writtenOffset(place.substitutions, offset));
  return `${problems.file}:${line}:${column}`;
}

function compiled<T>(field: Field, compile: () => T): T | null {
  try {
    return compile();
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    reportCompileError(field, error);
    return null;
  }
}

function reportCompileError(field: Field, error: CompileError): void {
  const { document, problems } = field.draft;
  let place = field;
  for (const step of error.path) place = place.get(step);
  const { substitutions } = place;
  const offset = writtenOffset(substitutions, error.offset);
  const position =
    typeof place.written === 'string' && (error.offset > 0 || error.path.length === 0)
      ? document.characterPosition(place.path, offset)
      : place.keyPosition;
  // The message may quote the expression, and that may hold what a variable held.
  const everything = [...allSubstitutions(field, error.path)];
  const quotes = everything.some(({ from, value }) => from !== 'escape' && quoting(error).includes(value));
  if (quotes) problems.add(position, `\`${field.label}\` does not compile once its variables are filled in`);
  else problems.add(position, error.message, error.hint);
}

function quoting(error: CompileError): string {
  return `${error.message} ${error.hint ?? ''}`;
}

function* allSubstitutions(field: Field, path: Path): Generator<Substitution> {
  let place = field;
  yield* place.substitutions;
  for (const step of path) {
    place = place.get(step);
    yield* place.substitutions;
  }
}

/** From an offset in the text with variables filled in to one in the text as written. */
function writtenOffset(substitutions: readonly Substitution[], offset: number): number {
  let shift = 0;
  for (const { start, value, writtenStart, writtenEnd } of substitutions) {
    if (offset < start) break;
    if (offset < start + value.length) return writtenStart;
    shift = writtenEnd - (start + value.length);
  }
  return offset + shift;
}
