/**
 * Where the `${{ … }}` that begins at `start` ends: past the `}}` that is neither in a text nor closes a map of the
 * expression. Without one, the end of the text.
 */
export function interpolationEnd(text: string, start: number): number {
  const token = /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\{|\}\}|\}/gs;
  token.lastIndex = start + 3;
  let open = 0;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    if (match[0] === '{') open += 1;
    else if (match[0] === '}}' && open === 0) return token.lastIndex;
    else if (match[0].startsWith('}') && open > 0) {
      open -= 1;
      // The second brace may belong to the next closing pair.
      token.lastIndex = match.index + 1;
    }
  }
  return text.length;
}
