import { UserError } from '../../domain/errors.ts';

/** A request as tools print it: its head, and its body when there is an empty line behind the head. */
export function splitRequest(bytes: Buffer): { readonly head: string; readonly body: Buffer | null } {
  for (const separator of ['\r\n\r\n', '\n\n']) {
    const at = bytes.indexOf(separator);
    if (at >= 0) return { head: bytes.toString('utf8', 0, at), body: bytes.subarray(at + separator.length) };
  }
  return { head: bytes.toString('utf8'), body: null };
}

/**
 * Header fields by lower-case name: `name: value` lines, with or without a request line, or a JSON object.
 * @throws UserError when it is neither
 */
export function parseHeaders(text: string): Record<string, string> {
  const entries = text.trimStart().startsWith('{') ? fromJson(text) : fromLines(text);
  return Object.fromEntries(entries.map(([name, value]) => [name.toLowerCase(), value.trim()]));
}

function fromJson(text: string): [string, string][] {
  try {
    return Object.entries(JSON.parse(text) as object).map(([name, value]) => [name, String(value)]);
  } catch {
    throw new UserError('--headers: this begins like JSON and is none', 2);
  }
}

function fromLines(text: string): [string, string][] {
  return text.split(/\r?\n/).flatMap((line, i): [string, string][] => {
    const isRequestLine = i === 0 && /^\S+ \S+ HTTP\/\d/.test(line);
    if (line.trim() === '' || isRequestLine) return [];
    const [, name, value = ''] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)$/.exec(line) ?? [];
    if (name === undefined) throw new UserError(`--headers: line ${i + 1} is not \`name: value\``, 2);
    return [[name, value]];
  });
}
