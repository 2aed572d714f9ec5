import type { Field } from './field.ts';

const schemes = {
  http: { protocols: ['http:', 'https:'], wanted: 'an http:// or https:// URL' },
  smtp: { protocols: ['smtp:', 'smtps:'], wanted: 'an smtp:// or smtps:// URL' },
  postgres: { protocols: ['postgres:', 'postgresql:'], wanted: 'a postgres:// URL' },
} as const;

/**
 * Reads a URL; what is secret in it (password, and the query when it came from a variable) is kept for redaction.
 * Messages never show a URL: it may hold credentials.
 */
export function readUrl(field: Field, kind: keyof typeof schemes): URL | null {
  const text = field.text();
  if (text === undefined) return null;
  const { protocols, wanted } = schemes[kind];
  const url = parseUrl(text);
  if (url === null || !(protocols as readonly string[]).includes(url.protocol)) {
    field.refuse(`\`${field.label}\` is not ${wanted}`, hintFor(text, kind));
    return null;
  }
  // A PostgreSQL URL without host means the local socket.
  if (url.hostname === '' && kind !== 'postgres') {
    field.refuse(`\`${field.label}\` names no host`);
    return null;
  }
  keepSecrets(field, url);
  return url;
}

export function parseUrl(text: string): URL | null {
  // URL drops line breaks and surrounding blanks in silence; what is then requested isn't what was written.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
  if (/[\u0000-\u0020\u007f]/.test(text)) return null;
  return URL.canParse(text) ? new URL(text) : null;
}

function hintFor(text: string, kind: keyof typeof schemes): string | null {
  if (/@.*@|:\/\/[^@]*[#?/%][^@]*@/.test(text)) return 'percent-encode special characters in user and password';
  return kind === 'http' && /^[\w.-]+\.[a-z]+(\/|$)/i.test(text) ? 'begin it with https://' : null;
}

function keepSecrets(field: Field, url: URL): void {
  if (url.password !== '') {
    field.secret(url.password);
    field.secret(decoded(url.password));
  }
  const fromOutside = field.substitutions.some(({ from }) => from === 'environment' || from === 'file');
  if (!fromOutside) return;
  for (const [, value] of url.searchParams) if (value.length >= 8) field.secret(value);
}

/** For a URL with `${{ }}` in it: what came from outside into its query. */
export function keepQuerySecrets(field: Field): void {
  const query = field.text()?.indexOf('?') ?? -1;
  for (const { from, value, start } of field.substitutions) {
    const fromOutside = from === 'environment' || from === 'file';
    if (fromOutside && query >= 0 && start > query && value.length >= 8) field.secret(value);
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
