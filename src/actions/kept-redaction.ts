import { createRedactor, redacted } from './redaction.ts';

/** Shorter beginnings of a secret tell nothing, and occur by chance. */
const shortestPart = 6;
/** Texts are cut at lengths above this; a secret can't have been cut in two in a shorter one. */
const shortestCut = 1_000;

/** Takes the secrets of the rules out of a text that is kept, also where the text was cut in the middle of one. */
export function createKeptTextRedactor(secrets: readonly string[]): (text: string) => string {
  // In a body that is kept as text, a secret stands as JSON escapes it.
  const spellings = secrets.flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]);
  const long = spellings.filter((secret) => secret.length > shortestPart);
  const whole = createRedactor(spellings);
  return (value) => (value.length < shortestCut ? whole(value) : withoutCutSecret(whole(value), long));
}

/** The same in every text of a JSON-like value. */
export function redactDeep(value: unknown, text: (value: string) => string): unknown {
  if (typeof value === 'string') return text(value);
  if (Array.isArray(value)) return value.map((item) => redactDeep(item, text));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [text(key), redactDeep(item, text)]));
}

/** Where a text was cut, it may end with the beginning of a secret. */
function withoutCutSecret(value: string, secrets: readonly string[]): string {
  const [, kept = value, mark = ''] = /^(.*?)( … \[cut\])?$/s.exec(value) ?? [];
  for (const secret of secrets) {
    for (let length = secret.length - 1; length >= shortestPart; length--) {
      if (kept.endsWith(secret.slice(0, length))) return kept.slice(0, -length) + redacted + mark;
    }
  }
  return value;
}
