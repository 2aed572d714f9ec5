import type { Scalar } from 'yaml';

/**
 * Where a character of a scalar's *value* stands in the source. Quoting, folding and indentation change nothing but white
 * space and escapes, so the n-th visible character of the value is the n-th visible character of the source.
 *
 * @param offset into the value, 0-based
 * @returns offset into the source, 0-based
 */
export function sourceOffset(source: string, scalar: Scalar, value: string, offset: number): number {
  const [start, end] = scalar.range ?? [0, 0];
  const raw = source.slice(start, end);
  if (scalar.type === 'PLAIN' && !raw.includes('\n')) return start + Math.min(offset, raw.length);
  const visible = visibleCharacters(raw, scalar.type ?? 'PLAIN');
  const before = value.slice(0, offset).replace(/\s/g, '').length;
  const found = visible[before] ?? (visible.at(-1) ?? -1) + 1;
  return start + found;
}

/** Offsets in `raw` of everything that makes a visible character of the value. */
function visibleCharacters(raw: string, type: string): number[] {
  const token =
    type === 'QUOTE_DOUBLE'
      ? /\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[\s\S])|\S/gi
      : type === 'QUOTE_SINGLE'
        ? /''|\S/g
        : /\S/g;
  const quoted = type.startsWith('QUOTE');
  const block = type.startsWith('BLOCK');
  token.lastIndex = quoted ? 1 : block ? raw.indexOf('\n') + 1 : 0;
  const last = quoted ? raw.length - 1 : raw.length;
  const offsets: number[] = [];
  for (let match = token.exec(raw); match !== null && match.index < last; match = token.exec(raw)) {
    for (let i = 0; i < visibleLength(match[0]); i += 1) offsets.push(match.index);
  }
  return offsets;
}

/** How many visible UTF-16 units a token of the source stands for. */
function visibleLength(token: string): number {
  if (!token.startsWith('\\') || token.length === 1) return 1;
  if (/^\\[uUx]./.test(token)) {
    const code = Number.parseInt(token.slice(2), 16);
    return code > 0xffff ? 2 : /\s/.test(String.fromCharCode(code)) ? 0 : 1;
  }
  return /^\\[ \tntrvfLP_\n\r]$/.test(token) ? 0 : 1;
}
