/**
 * `{ token: ${SLACK_BOT_TOKEN} }` is no YAML: unquoted, `{` begins a mapping there, and `a ? b : c` inside `${{ }}` ends the
 * value at the colon. People write both, so YAML's punctuation within `${…}` and `${{…}}` is put behind characters that
 * Unicode sets aside for internal use, one for one (offsets stay true), and comes back when the values are read.
 * The alternative, asking for quotes, breaks the first file that everybody writes.
 */
const punctuation = '{}[],:#';
const firstStandIn = 0xfdd0;

const standIns = new Map([...punctuation].map((char, i) => [char, String.fromCharCode(firstStandIn + i)]));
const originals = new Map([...standIns].map(([char, standIn]) => [standIn, char]));

/** Noncharacters (Unicode 23.7): never legitimate in a file that two programs exchange. */
export const noncharacter = /[\uFDD0-\uFDEF]/;

export function mask(text: string): string {
  return text.replace(/\$\{\{.{0,1000}?\}\}|\$\{[^{}"'\n]*\}/g, (found) => {
    // Odd quotes: the match runs over the end of a quoted string, so it isn't one placeholder.
    if (!balanced(found)) return found;
    return found.replace(/[{}[\],:#]/g, (char) => standIns.get(char) ?? char);
  });
}

export function unmask(text: string): string {
  return text.replace(/[\uFDD0-\uFDD6]/g, (standIn) => originals.get(standIn) ?? standIn);
}

function balanced(text: string): boolean {
  const double = text.match(/(?<!\\)"/g)?.length ?? 0;
  const single = text.match(/'/g)?.length ?? 0;
  return double % 2 === 0 && single % 2 === 0;
}
