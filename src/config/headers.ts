import type { Field } from './field.ts';

/** Set by the sender, by HTTP itself, or part of a signature: a second one would contradict. */
const reserved: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-connection',
  'slack-signature',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'webhook-id',
  'webhook-replay',
  'webhook-signature',
  'webhook-timestamp',
  'x-slack-signature',
]);

const secretByName: ReadonlySet<string> = new Set(['authorization', 'cookie', 'proxy-authorization', 'x-api-key']);

/** Header fields by lower-case name; unfit ones are reported and left out. */
export function readHeaders(field: Field): [name: string, value: Field][] {
  const seen = new Set<string>();
  return field.entries().flatMap(([written, value]): [string, Field][] => {
    const name = written.toLowerCase();
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name))
      value.refuseKey('this is not a header name', 'letters, digits and `-`');
    else if (reserved.has(name)) value.refuseKey(`header \`${written}\` is set by pg-observers`, 'remove it');
    else if (seen.has(name))
      value.refuseKey(`header \`${written}\` is given twice`, 'names are the same in upper and lower case');
    // RFC 9110, 5.5: what would end the line begins another header.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
    else if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value.text() ?? '')) {
      value.refuse(`header \`${written}\` has a line break or control character`);
    } else {
      keepSecrets(name, value);
      seen.add(name);
      return [[name, value]];
    }
    seen.add(name);
    return [];
  });
}

function keepSecrets(name: string, value: Field): void {
  const text = value.text();
  if (text === undefined) return;
  const variables = value.substitutions.filter(({ from }) => from === 'environment' || from === 'file');
  for (const variable of variables) value.secret(variable.value);
  // With `${{ }}` in it the text itself never travels.
  if (text.includes('${{')) return;
  if (variables.length > 0 || secretByName.has(name)) {
    value.secret(text);
    value.secret(text.replace(/^[A-Za-z]+ +/, ''));
  }
}
