import type { JsonText } from '../domain/event.ts';

const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const space = 0x20;
/** A number of so many characters is the same as a double. */
const surelyExact = 15;

/**
 * One member of a JSON object, found in its text: a tenth of the time that it takes to parse a row of ten columns, when one of them
 * decides that nobody cares for the rest. Only for objects in which nothing is nested, so that a name is found once.
 *
 * @param quoted the name in quotes; letters, digits and underscores, so that there is one way to write it
 * @returns null when there is no such member; undefined when only parsing can tell
 */
export function peek(text: JsonText, quoted: string): string | number | boolean | null | undefined {
  if (text.indexOf('{', 1) !== -1 || text.includes('[') || !text.startsWith('{')) return undefined;
  for (let at = text.indexOf(quoted); at !== -1; at = text.indexOf(quoted, at + 1)) {
    // The end of another name or of a text, which holds a quote.
    if (text.charCodeAt(at - 1) === backslash) continue;
    const end = skipSpace(text, at + quoted.length);
    // Else it is a value.
    if (text.charCodeAt(end) === colon) return scalarAt(text, skipSpace(text, end + 1));
  }
  return null;
}

function scalarAt(text: string, at: number): string | number | boolean | null | undefined {
  if (text.charCodeAt(at) === quote) {
    const end = text.indexOf('"', at + 1);
    const value = text.slice(at + 1, end);
    return value.includes('\\') ? undefined : value;
  }
  const comma = text.indexOf(',', at);
  const token = text.slice(at, comma === -1 ? text.lastIndexOf('}') : comma).trimEnd();
  switch (token) {
    case 'true':
      return true;
    case 'false':
      return false;
    case 'null':
      return null;
    default:
      return token.length > surelyExact ? undefined : Number(token);
  }
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text.charCodeAt(at) <= space) at++;
  return at;
}
