/** PostgreSQL cuts longer names off silently (NAMEDATALEN - 1). Bytes. */
export const longestName = 63;

export type TableName =
  | { readonly schema: string; readonly table: string }
  | { readonly problem: string; readonly hint: string | null };

const part = /"((?:[^"]|"")+)"|([\p{L}_][\p{L}\p{N}_$]*)/uy;

/** `public.orders`, `orders` (schema public), `"My Schema"."Ta.ble"`. */
export function parseTableName(text: string): TableName {
  const parts: string[] = [];
  let at = 0;
  do {
    part.lastIndex = at;
    const match = part.exec(text);
    if (match === null)
      return { problem: 'is not a table name', hint: 'write schema.table; other characters need double quotes' };
    const [, quoted, bare] = match;
    if (bare !== undefined && bare !== bare.toLowerCase()) {
      return {
        problem: 'has capital letters without double quotes',
        hint: `PostgreSQL reads ${bare} as ${bare.toLowerCase()}: write that, or "${bare}"`,
      };
    }
    parts.push(quoted?.replaceAll('""', '"') ?? bare ?? '');
    at = part.lastIndex + 1;
  } while (text[at - 1] === '.');
  if (at - 1 < text.length)
    return { problem: 'is not a table name', hint: 'write schema.table; other characters need double quotes' };
  return checked(parts);
}

function checked(parts: readonly string[]): TableName {
  const long = parts.find((name) => Buffer.byteLength(name) > longestName);
  if (long !== undefined) return { problem: `has a name longer than ${longestName} bytes`, hint: null };
  const [first, second] = parts;
  if (parts.length > 2 || first === undefined)
    return { problem: 'has more than schema and table', hint: 'write schema.table' };
  const schema = second === undefined ? 'public' : first;
  if (schema === 'observers') return { problem: 'belongs to pg-observers itself', hint: null };
  if (schema === 'pg_catalog' || schema === 'information_schema') {
    return { problem: 'is a system table, where triggers are not possible', hint: null };
  }
  return { schema, table: second ?? first };
}
