/**
 * `${{ }}` in a URL. A value is percent-encoded for where it stands: it can't end the segment or parameter that it stands
 * in, nor reach the host, unless the template gives it the host on purpose.
 */
import { ExpressionError, type Scope, type Template, type UrlTemplate } from '../domain/expression.ts';
import { CompileError } from './compile-error.ts';
import { compileTemplate } from './template.ts';
import { splitTemplate } from './template-text.ts';

type Place = 'whole' | 'host' | 'part-of-host' | 'path' | 'query';

interface Value {
  readonly place: Place;
  readonly template: Template;
  readonly expression: string;
}

/**
 * Compiles a URL with `${{ }}` in it: `https://api.example.com/orders/${{ new.id }}`, `https://${{ new.host }}/hooks`, or one
 * `${{ }}` that is the whole URL.
 * @throws CompileError with its offset
 */
export function compileUrl(text: string): UrlTemplate {
  const parts = splitTemplate(text);
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return new WholeUrl(text, toValue(first, 'whole'));
  let sample = '';
  const compiled = parts.map((part, i) => {
    if (typeof part === 'string') {
      sample += part;
      return part;
    }
    const next = parts[i + 1];
    const value = toValue(part, placeOf(sample, typeof next === 'string' ? next : ''));
    sample += standIn;
    return value;
  });
  return new PartialUrl(text, compiled, originOf(sample, compiled));
}

/** Fits everywhere: in a host, as a port, in a path. */
const standIn = '1';

function toValue(part: string | { readonly source: string }, place: Place): Value {
  const expression = typeof part === 'string' ? part : part.source;
  return { place, expression, template: compileTemplate(`\${{${expression}}}`, 'plain') };
}

/** Where an expression stands, by the text before it and the text behind it. */
function placeOf(before: string, behind: string): Place {
  const authority = /^https?:\/\/([^/?#\\]*)$/i.exec(before)?.[1];
  if (authority !== undefined) return authority === '' && /^(:\d+)?([/?#]|$)/.test(behind) ? 'host' : 'part-of-host';
  if (/^https?:\/\//i.test(before)) return /[?#]/.test(before) ? 'query' : 'path';
  throw new CompileError('a URL with ${{ }} in it begins with http:// or https://', {
    hint: 'or let one ${{ }} be the whole URL',
  });
}

function originOf(sample: string, parts: readonly (string | Value)[]): string | null {
  const url = URL.canParse(sample) ? new URL(sample) : null;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
  if (url === null || /[\u0000-\u0020\u007f]/.test(sample)) throw new CompileError('this does not make a URL');
  if (url.username !== '' || url.password !== '') {
    throw new CompileError('a URL with ${{ }} in it takes no user and password', {
      hint: 'write auth: { basic: { username: …, password: … } }',
    });
  }
  const isFixed = parts.every((part) => typeof part === 'string' || part.place === 'path' || part.place === 'query');
  return isFixed ? url.origin : null;
}

/** One `${{ }}` and nothing else: the event holds the URL. */
class WholeUrl implements UrlTemplate {
  readonly source: string;
  readonly origin = null;
  readonly #value: Value;

  constructor(source: string, value: Value) {
    this.source = source;
    this.#value = value;
  }

  render(scope: Scope): URL {
    const text = this.#value.template.renderText(scope);
    const url = URL.canParse(text) ? new URL(text) : null;
    if (url === null || !/^https?:$/.test(url.protocol)) {
      throw new ExpressionError('the value is not an http:// or https:// URL', this.source);
    }
    if (url.username !== '' || url.password !== '') {
      throw new ExpressionError(
        'the URL holds a user or password, which would be kept with every attempt',
        this.source,
      );
    }
    return url;
  }
}

class PartialUrl implements UrlTemplate {
  readonly source: string;
  readonly origin: string | null;
  readonly #parts: readonly (string | Value)[];

  constructor(source: string, parts: readonly (string | Value)[], origin: string | null) {
    this.source = source;
    this.#parts = parts;
    this.origin = origin;
  }

  render(scope: Scope): URL {
    let text = '';
    for (const part of this.#parts) text += typeof part === 'string' ? part : encoded(part, scope);
    const [, path = ''] = /^[^:]*:\/\/[^/?#]*([^?#]*)/.exec(text) ?? [];
    // A URL parser resolves these, percent-encoded too: another resource than the one that was written.
    if (path.split('/').some((segment) => /^(\.|%2e){1,2}$/i.test(segment))) {
      throw new ExpressionError('the value makes a `.` or `..` of a path segment', this.source);
    }
    const url = URL.canParse(text) ? new URL(text) : null;
    if (url === null || (this.origin !== null && url.origin !== this.origin)) {
      throw new ExpressionError('the values do not make a URL', this.source);
    }
    return url;
  }
}

function encoded({ place, template, expression }: Value, scope: Scope): string {
  const text = template.renderText(scope);
  switch (place) {
    case 'path':
      // `DELETE /orders/` is not `DELETE /orders/42`.
      if (text === '') throw new ExpressionError('there is no value for the path of the URL', expression);
      return percentEncoded(text, expression);
    case 'query':
      return percentEncoded(text, expression);
    case 'part-of-host':
      if (/^[A-Za-z0-9_-]+$/.test(text)) return text;
      throw new ExpressionError('the value is not one label of a host name', expression);
    default:
      // Nothing that ends the host, names a user, or is decoded to something else.
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
      if (/^[^/?#@\\%\u0000-\u0020\u007f]+$/.test(text)) return text;
      throw new ExpressionError('the value is not a host', expression);
  }
}

/** As it may stand in a path, a query or a form. @throws ExpressionError for half a surrogate pair */
export function percentEncoded(text: string, expression: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    throw new ExpressionError('the value is not valid Unicode', expression);
  }
}
