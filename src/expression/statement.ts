/**
 * SQL with `${{ }}` in it. Each becomes a parameter, so no value is ever read as SQL, and quotes around it would make a
 * text of the parameter's name: that, and whatever else could not be meant, is refused when the file is loaded.
 */

import type { StatementTemplate } from '../domain/sql.ts';
import { CompileError } from './compile-error.ts';
import { compileTemplate } from './template.ts';
import { splitTemplate } from './template-text.ts';

/** What would end or leave the transaction that settles the delivery with the statement, or belongs to a session. */
const refusedVerbs: ReadonlyMap<string, string> = new Map(
  [
    ['begin start commit end rollback abort savepoint release prepare', 'it runs in a transaction of its own already'],
    [
      'set reset discard listen unlisten declare fetch close deallocate execute load',
      'it would be for a session, and a statement has none to itself',
    ],
    ['vacuum copy do', 'call a function: select your_function(…)'],
  ].flatMap(([verbs = '', why = '']) => verbs.split(' ').map((verb) => [verb, why] as const)),
);

/**
 * @throws CompileError whose offset counts in the text
 */
export function compileStatement(text: string): StatementTemplate {
  const parameters: StatementTemplate['parameters'][number][] = [];
  let sql = '';
  let at = 0;
  const reader = new SqlReader();
  for (const part of splitTemplate(text)) {
    if (typeof part === 'string') {
      reader.read(part, at);
      sql += part;
      at += part.length;
      continue;
    }
    reader.parameter(at);
    const written = text.slice(at, at + opening.length + part.source.length + closing.length);
    parameters.push(compileTemplate(written, 'plain'));
    // Blanks: next to a name it would become part of that.
    sql += ` $${parameters.length} `;
    at += written.length;
  }
  reader.end();
  return Object.freeze({ text: sql.trim(), parameters: Object.freeze(parameters) });
}

const opening = '${{';
const closing = '}}';

type State =
  | { readonly in: 'sql' }
  | { readonly in: 'line comment' }
  | { readonly in: 'comment'; readonly depth: number }
  | { readonly in: 'text' | 'escaped text' | 'name' | 'dollar text'; readonly end: string };

/** Places in which a parameter can't stand, in the words of a person. */
const places: Readonly<Record<Exclude<State['in'], 'sql'>, readonly [string, string]>> = {
  text: ['inside a quoted text', 'remove the quotes: it becomes a parameter; join texts with ||'],
  'escaped text': ['inside a quoted text', 'remove the quotes: it becomes a parameter; join texts with ||'],
  'dollar text': ['inside a dollar-quoted text', 'pass it to a function as an argument'],
  name: ['inside a quoted name', 'a name can’t come from data: write one statement for each'],
  'line comment': ['inside a comment', 'remove it'],
  comment: ['inside a comment', 'remove it'],
};

/** As far as PostgreSQL's lexer is needed to know what is SQL and what is quoted. Goes on across the parts of a template. */
class SqlReader {
  #state: State = { in: 'sql' };
  /** Where a semicolon ended the statement. */
  #endedAt: number | null = null;
  #verb: string | null = null;
  #openedAt = 0;

  read(part: string, offset: number): void {
    for (let i = 0; i < part.length; ) i += this.#step(part, i, offset);
  }

  parameter(offset: number): void {
    if (this.#state.in !== 'sql') {
      const [where, hint] = places[this.#state.in];
      throw new CompileError(`an expression ${where}`, { offset, hint });
    }
    this.#something(offset);
  }

  end(): void {
    const { in: where } = this.#state;
    if (where !== 'sql' && where !== 'line comment')
      throw new CompileError(`the statement ends ${places[where][0]}`, { offset: this.#openedAt, hint: 'close it' });
    if (this.#verb === null) throw new CompileError('there is no statement');
  }

  /** @returns how many characters it took */
  #step(part: string, i: number, offset: number): number {
    const state = this.#state;
    switch (state.in) {
      case 'sql':
        return this.#sql(part, i, offset);
      case 'line comment':
        if (part[i] === '\n') this.#state = { in: 'sql' };
        return 1;
      case 'comment':
        return this.#comment(part, i, state.depth);
      case 'escaped text':
        if (part[i] === '\\') return 2;
        break;
      default:
    }
    if (!part.startsWith(state.end, i)) return 1;
    // Doubled, a quote stands for itself.
    if (state.in !== 'dollar text' && part.startsWith(state.end, i + 1)) return 2;
    this.#state = { in: 'sql' };
    return state.end.length;
  }

  #comment(part: string, i: number, depth: number): number {
    const two = part.slice(i, i + 2);
    if (two === '/*') this.#state = { in: 'comment', depth: depth + 1 };
    else if (two === '*/') this.#state = depth === 1 ? { in: 'sql' } : { in: 'comment', depth: depth - 1 };
    else return 1;
    return 2;
  }

  #sql(part: string, i: number, offset: number): number {
    sqlToken.lastIndex = i;
    const [token = ''] = sqlToken.exec(part) ?? [];
    if (token.trim() === '') return Math.max(1, token.length);
    if (token === '--' || token === '/*') {
      this.#open(token === '--' ? { in: 'line comment' } : { in: 'comment', depth: 1 }, offset + i);
      return token.length;
    }
    if (token === ';') {
      this.#endedAt ??= offset + i;
      return 1;
    }
    this.#something(offset + i);
    if (/^[a-z_]/i.test(token) && !token.endsWith("'")) this.#word(token.toLowerCase(), offset + i);
    else if (/^\$\d/.test(token))
      throw new CompileError(`${token} is written by hand`, {
        offset: offset + i,
        hint: 'write ${{ }} there: it becomes a parameter',
      });
    else if (token === '"') this.#open({ in: 'name', end: '"' }, offset + i);
    else if (/^e'$/i.test(token)) this.#open({ in: 'escaped text', end: "'" }, offset + i);
    else if (token.endsWith("'")) this.#open({ in: 'text', end: "'" }, offset + i);
    else if (token.startsWith('$')) this.#open({ in: 'dollar text', end: token }, offset + i);
    return token.length;
  }

  #open(state: State, offset: number): void {
    this.#state = state;
    this.#openedAt = offset;
  }

  #word(word: string, offset: number): void {
    if (this.#verb !== null) return;
    this.#verb = word;
    const why = refusedVerbs.get(word);
    if (why !== undefined) throw new CompileError(`a \`${word}\` can’t be an action`, { offset, hint: why });
  }

  /** A second statement: PostgreSQL takes one at a time where there are parameters. */
  #something(offset: number): void {
    if (this.#endedAt !== null)
      throw new CompileError('a second statement', {
        offset,
        hint: 'one statement per action: write another action, or a function',
      });
  }
}

/** Blanks, a quote with its prefix, a name or number as a whole (`a$1` is a name), a comment's beginning, or one character. */
const sqlToken =
  /(?:\s+|--|\/\*|[ebx]'|n'|u&'|\$\d+|\$(?:[a-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$|[a-z_\u0080-\uffff][\w$\u0080-\uffff]*|\d[\w.]*|[\s\S])/iy;
