/**
 * The text of a part of an expression. cel-js's ranges leave out the parentheses around a part, and so also the first of
 * `(a + 1) * 2` and the last of `!(a > 2)`: those that the range tears apart are taken back in.
 */

interface Range {
  readonly start: number;
  readonly end: number;
}

/** @returns null when a comment stands between a part and its parentheses */
export function partOf(source: string, range: Range): string | null {
  const { opened, closed } = unmatched(source, range);
  const start = before(source, range.start, closed);
  const end = behind(source, range.end, opened);
  return start === null || end === null ? null : source.slice(start, end);
}

/** Parentheses within the range whose other half is outside. */
function unmatched(source: string, { start, end }: Range): { readonly opened: number; readonly closed: number } {
  let [opened, closed] = [0, 0];
  token.lastIndex = start;
  for (let match = token.exec(source); match !== null && match.index < end; match = token.exec(source)) {
    if (match[0] === '(') opened += 1;
    else if (match[0] !== ')') continue;
    else if (opened > 0) opened -= 1;
    else closed += 1;
  }
  return { opened, closed };
}

/** Parentheses, and what may hold some that are none: texts (raw ones, too) and comments. */
const token =
  /[()]|\/\/[^\n]*|[rR][bB]?(?:"""[\s\S]*?"""|'''[\s\S]*?'''|"[^"]*"|'[^']*')|"""(?:\\[\s\S]|[^\\])*?"""|'''(?:\\[\s\S]|[^\\])*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/g;

function before(source: string, start: number, count: number): number | null {
  let at = start;
  for (let left = count; left > 0; left -= 1) {
    const found = /\(\s*$/.exec(source.slice(0, at));
    if (found === null) return null;
    at = found.index;
  }
  return at;
}

function behind(source: string, end: number, count: number): number | null {
  let at = end;
  for (let left = count; left > 0; left -= 1) {
    const found = /^\s*\)/.exec(source.slice(at));
    if (found === null) return null;
    at += found[0].length;
  }
  return at;
}
