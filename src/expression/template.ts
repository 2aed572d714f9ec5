/**
 * `${{ }}` in any YAML value. What an expression yields is data: it is escaped for where it stands, and never read as a
 * template again.
 */
import { ExpressionError, type Scope, type Template, type TemplateMode } from '../domain/expression.ts';
import { type Expression, evaluationFailure } from './compile.ts';
import { CompileError, type ValuePath } from './compile-error.ts';
import { escapeDeep, escapeValue, memberMode, withoutLineBreaks } from './escape.ts';
import { type ExactPath, exactPath, resolveExactly } from './exact-path.ts';
import { type Place, PlacedTemplate } from './placed-template.ts';
import { isPlainObject, toJson, toPlain, toText } from './print.ts';
import { eventScope } from './scope.ts';
import { holdsExpression, splitTemplate } from './template-text.ts';

/** Characters of one rendered text: beyond it, something is wrong with the template or the event. */
const longestText = 1024 * 1024;

const deepestValue = 64;

/** Where a character of a text inside the value stands, as file:line:column. */
export type Locate = (path: ValuePath, offset: number) => string;

/**
 * Compiles a YAML value (text, number, list, map, …) whose texts may hold `${{ }}`. Keys are taken literally.
 * @throws CompileError with path and offset
 */
export function compileTemplate(value: unknown, mode: TemplateMode, locate: Locate | null = null): Template {
  return compileValue(value, mode, [], locate);
}

/** Whether a value renders to itself on every event. */
export function isStaticTemplate(value: unknown): boolean {
  if (typeof value === 'string') return !holdsExpression(value);
  return value === null || typeof value !== 'object' || Object.values(value).every(isStaticTemplate);
}

function compileValue(value: unknown, mode: TemplateMode, path: ValuePath, locate: Locate | null): Template {
  if (path.length > deepestValue)
    throw new CompileError(`nested too deeply (more than ${deepestValue} levels)`, { path });
  if (typeof value === 'string') return compileText(value, mode, path, locate);
  if (Array.isArray(value))
    return new ListTemplate(value.map((item, index) => compileValue(item, mode, [...path, index], locate)));
  if (typeof value === 'object' && value !== null) return compileMap(value, mode, path, locate);
  if (value === null || value === undefined || typeof value === 'boolean' || typeof value === 'bigint') {
    return new StaticTemplate(value ?? null);
  }
  if (typeof value === 'number' && Number.isFinite(value)) return new StaticTemplate(value);
  throw new CompileError(`${String(value)} has no place in JSON`, { path });
}

function compileMap(value: object, mode: TemplateMode, path: ValuePath, locate: Locate | null): Template {
  if (!isPlainObject(value)) {
    throw new CompileError('takes a text, number, list or map', { path });
  }
  const modeOf = memberMode(mode, (key) => (Object.hasOwn(value, key) ? value[key] : undefined));
  const members = Object.entries(value).map(([key, item]) => {
    if (!holdsExpression(key)) return [key, compileValue(item, modeOf(key), [...path, key], locate)] as const;
    throw new CompileError('a key is taken literally, it can’t be a template', { path: [...path, key] });
  });
  return new MapTemplate(members);
}

function compileText(text: string, mode: TemplateMode, path: ValuePath, locate: Locate | null): Template {
  try {
    const parts = splitTemplate(text);
    const [only] = parts;
    if (parts.every((part) => typeof part === 'string')) {
      return new StaticTemplate(mode === 'header' || mode === 'address' ? withoutLineBreaks(text) : text);
    }
    const template =
      parts.length === 1 && only !== undefined && typeof only !== 'string'
        ? new ValueTemplate(only, mode)
        : new TextTemplate(text, parts, mode);
    return locate === null ? template : new PlacedTemplate(template, placesOf(parts, path, locate));
  } catch (error) {
    throw error instanceof CompileError ? error.within(path) : error;
  }
}

function placesOf(parts: readonly (string | Expression)[], path: ValuePath, locate: Locate): readonly Place[] {
  let at = 0;
  return parts.flatMap((part) => {
    const offset = at;
    at += typeof part === 'string' ? part.length : part.source.length + '${{}}'.length;
    return typeof part === 'string' ? [] : [{ source: part.source, place: locate(path, offset) }];
  });
}

class StaticTemplate implements Template {
  readonly #value: string | number | bigint | boolean | null;
  readonly #json: string;

  constructor(value: string | number | bigint | boolean | null) {
    this.#value = value;
    this.#json = toJson(value);
  }

  render(): unknown {
    return this.#value;
  }
  renderText(): string {
    return toText(this.#value);
  }
  renderJson(): string {
    return this.#json;
  }
}

/** Exactly one `${{ }}`: the value keeps its type. */
class ValueTemplate implements Template {
  readonly #expression: Expression;
  readonly #path: ExactPath | null;
  readonly #mode: TemplateMode;

  constructor(expression: Expression, mode: TemplateMode) {
    this.#expression = expression;
    this.#path = exactPath(expression.ast);
    this.#mode = mode;
  }

  render(scope: Scope): unknown {
    return guarded(this.#expression.source, () => toPlain(escapeDeep(this.#expression.evaluate(scope), this.#mode)));
  }
  renderText(scope: Scope): string {
    return guarded(this.#expression.source, () => {
      return bounded(escapeValue(exactValue(this.#expression, this.#path, scope), this.#mode), this.#expression.source);
    });
  }
  renderJson(scope: Scope): string {
    return guarded(this.#expression.source, () => {
      const path = this.#path;
      // A whole row or payload is already JSON: neither parsed nor printed.
      if (path !== null && path.steps.length === 0 && path.root !== 'context' && this.#mode === 'plain') {
        return eventScope(scope).text(path.root) ?? 'null';
      }
      return toJson(escapeDeep(exactValue(this.#expression, path, scope), this.#mode));
    });
  }
}

interface TextPart {
  readonly expression: Expression;
  readonly path: ExactPath | null;
}

/** Text with expressions in it. */
class TextTemplate implements Template {
  readonly #source: string;
  readonly #parts: readonly (string | TextPart)[];
  readonly #mode: TemplateMode;

  constructor(source: string, parts: readonly (string | Expression)[], mode: TemplateMode) {
    this.#source = source;
    this.#parts = parts.map((part) =>
      typeof part === 'string' ? part : { expression: part, path: exactPath(part.ast) },
    );
    this.#mode = mode;
  }

  render(scope: Scope): string {
    return this.renderText(scope);
  }
  renderText(scope: Scope): string {
    return guarded(this.#source, () => {
      let text = '';
      for (const part of this.#parts) {
        text +=
          typeof part === 'string' ? part : escapeValue(exactValue(part.expression, part.path, scope), this.#mode);
        bounded(text, this.#source);
      }
      return this.#mode === 'header' ? withoutLineBreaks(text) : text;
    });
  }
  renderJson(scope: Scope): string {
    return JSON.stringify(this.renderText(scope));
  }
}

class ListTemplate implements Template {
  readonly #items: readonly Template[];

  constructor(items: readonly Template[]) {
    this.#items = items;
  }

  render(scope: Scope): unknown {
    return this.#items.map((item) => item.render(scope));
  }
  renderText(scope: Scope): string {
    return this.renderJson(scope);
  }
  renderJson(scope: Scope): string {
    return `[${this.#items.map((item) => item.renderJson(scope)).join(',')}]`;
  }
}

class MapTemplate implements Template {
  readonly #members: readonly (readonly [key: string, value: Template])[];

  constructor(members: readonly (readonly [string, Template])[]) {
    this.#members = members;
  }

  render(scope: Scope): unknown {
    // fromEntries defines members: a key `__proto__` stays a key.
    return Object.fromEntries(this.#members.map(([key, value]) => [key, value.render(scope)]));
  }
  renderText(scope: Scope): string {
    return this.renderJson(scope);
  }
  renderJson(scope: Scope): string {
    return `{${this.#members.map(([key, value]) => `${JSON.stringify(key)}:${value.renderJson(scope)}`).join(',')}}`;
  }
}

function exactValue(expression: Expression, path: ExactPath | null, scope: Scope): unknown {
  const exact = path === null ? undefined : resolveExactly(path, eventScope(scope));
  return exact === undefined ? expression.evaluate(scope) : exact;
}

function bounded(text: string, source: string): string {
  if (text.length <= longestText) return text;
  throw new ExpressionError(`the text is longer than ${longestText} characters`, source);
}

function guarded<T>(source: string, render: () => T): T {
  try {
    return render();
  } catch (error) {
    throw evaluationFailure(error, source);
  }
}
