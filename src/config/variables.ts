// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { childOf, type WrittenDocument } from './document.ts';
import { interpolationEnd } from './interpolation.ts';
import { type Path, pointerOf } from './pointer.ts';
import type { Problems } from './problems.ts';

export interface VariableSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** @throws when it can't be read */
  readonly readFile: (path: string) => string;
  /** JSON pointers of values that nobody will use: their variables need not be set. */
  readonly skip: readonly string[];
  /** For a variable or file that is not there, where nobody will connect to anything; absent: it is a problem. */
  readonly standIn?: (name: string, path: Path, alone: boolean) => string;
}

/** One `${…}` that was replaced. */
export interface Substitution {
  /** Offset of `${` in the text as written. */
  readonly writtenStart: number;
  readonly writtenEnd: number;
  /** Offset of its value in the text that came out. */
  readonly start: number;
  readonly value: string;
  readonly from: 'environment' | 'file' | 'default' | 'escape';
}

export interface Resolved {
  /** The document's value with variables replaced. */
  readonly value: unknown;
  /** By JSON pointer: the texts that held variables or an escape. */
  readonly substitutions: ReadonlyMap<string, readonly Substitution[]>;
}

/**
 * Replaces `${VAR}`, `${VAR:-default}` and `${file:/path}` in values, never in keys and never inside `${{ }}`. `$${VAR}` is
 * the literal `${VAR}`. What a variable holds is not searched for variables again.
 */
export function resolveVariables(document: WrittenDocument, sources: VariableSources, problems: Problems): Resolved {
  const substitutions = new Map<string, readonly Substitution[]>();
  const resolve = (value: unknown, path: Path): unknown => {
    if (typeof value === 'string') {
      if (!value.includes('${')) return value;
      const pointer = pointerOf(path);
      if (sources.skip.includes(pointer)) return value;
      const told = new Set<string>();
      const complain = (offset: number, message: string, hint: string | null): void => {
        if (told.has(message)) return;
        told.add(message);
        problems.add(document.characterPosition(path, offset), message, hint);
        problems.refuse(pointer);
      };
      const { standIn } = sources;
      const instead = (name: string, alone: boolean) => standIn?.(name, path, alone) ?? null;
      const result = substitute(value, sources, complain, instead);
      if (result.found.length > 0) substitutions.set(pointer, result.found);
      return result.text;
    }
    if (Array.isArray(value)) return value.map((item, i) => resolve(item, [...path, i]));
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.keys(value).map((key) => [key, resolve(childOf(value, key), [...path, key])]));
  };
  return { value: resolve(document.value, []), substitutions };
}

type Complain = (offset: number, message: string, hint: string | null) => void;

function substitute(
  written: string,
  sources: VariableSources,
  complain: Complain,
  instead: (name: string, alone: boolean) => string | null,
): { text: string; found: Substitution[] } {
  const found: Substitution[] = [];
  let text = '';
  let at = 0;
  while (at < written.length) {
    const next = written.indexOf('$', at);
    if (next < 0) break;
    text += written.slice(at, next);
    at = next;
    const escaped = written.startsWith('$${', at) && !written.startsWith('$${{', at);
    const end = written.startsWith('${{', at) ? interpolationEnd(written, at) : variableEnd(written, at);
    if (escaped) {
      found.push({ writtenStart: at, writtenEnd: at + 3, start: text.length, value: '${', from: 'escape' });
      text += '${';
      at += 3;
    } else if (written.startsWith('${{', at)) {
      text += written.slice(at, end);
      at = end;
    } else if (written.startsWith('${', at)) {
      const standIn = (name: string) => instead(name, at === 0 && end === written.length);
      const say: Say = (message, hint) => complain(at, message, hint);
      const value = lookUp(written.slice(at, end), sources, say, standIn);
      if (value !== null) found.push({ writtenStart: at, writtenEnd: end, start: text.length, ...value });
      text += value?.value ?? '';
      at = end;
    } else {
      text += '$';
      at += 1;
    }
  }
  return { text: text + written.slice(at), found };
}

function variableEnd(text: string, start: number): number {
  const end = text.indexOf('}', start);
  return end < 0 ? text.length : end + 1;
}

type Value = Pick<Substitution, 'value' | 'from'>;
type Say = (message: string, hint: string | null) => void;

function lookUp(
  placeholder: string,
  sources: VariableSources,
  complain: Say,
  standIn: (name: string) => string | null,
): Value | null {
  const file = /^\$\{file:([^{}]+)\}$/.exec(placeholder)?.[1];
  if (file !== undefined) {
    const instead = standIn(file);
    return instead === null ? fromFile(file, sources, complain) : { value: instead, from: 'default' };
  }
  const match = /^\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}$/.exec(placeholder);
  const name = match?.[1];
  if (name === undefined) {
    complain(
      `\`${shortened(placeholder)}\` is not a variable`,
      'write ${NAME}, ${NAME:-default} or ${file:/path}; $${ is a literal ${',
    );
    return null;
  }
  const value = Object.hasOwn(sources.env, name) ? sources.env[name] : undefined;
  if (typeof value === 'string' && value !== '') return { value, from: 'environment' };
  const fallback = match?.[2];
  if (fallback !== undefined) return { value: fallback, from: 'default' };
  const instead = standIn(name);
  if (instead !== null) return { value: instead, from: 'default' };
  complain(`variable ${name} is ${value === '' ? 'empty' : 'not set'}`, `set it, or give a default: \${${name}:-…}`);
  return null;
}

function fromFile(path: string, sources: VariableSources, complain: Say): Value | null {
  try {
    // Editors and `echo` end a file with a line break that is no part of the secret.
    const value = sources.readFile(path).replace(/\r?\n$/, '');
    if (value !== '') return { value, from: 'file' };
    complain(`the file ${path} is empty`, null);
  } catch (error) {
    complain(`can't read the file ${path}: ${reasonOf(error)}`, null);
  }
  return null;
}

/** Never the error's own message: it could quote what was read. */
export function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const known: Readonly<Record<string, string>> = {
    ENOENT: 'no such file',
    EACCES: 'permission denied',
    EISDIR: 'it is a directory',
  };
  return known[code] ?? (code === '' ? 'unknown error' : code);
}

export function shortened(text: string): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}
