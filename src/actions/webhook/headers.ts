import { redacted } from '../redaction.ts';
import { userAgent } from '../user-agent.ts';

/** Headers that belong to the protocol or to Standard Webhooks; neither a destination nor an action may set them. */
export const reservedHeaders: ReadonlySet<string> = new Set([
  'webhook-id',
  'webhook-timestamp',
  'webhook-signature',
  'webhook-replay',
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'upgrade',
  'expect',
  'te',
  'trailer',
  'proxy-connection',
]);

/** Control characters: CR and LF would begin another header, and no server takes the others. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const controls = /[\x00-\x08\x0a-\x1f\x7f]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is what is looked for
const notAscii = /[^\x00-\x7f]/;

/**
 * A value as it goes on the wire: without control characters; beyond ASCII, its UTF-8 bytes (HTTP names no encoding, and
 * UTF-8 is what receivers decode).
 */
export function headerValue(text: string): string {
  const clean = text.replace(controls, '').trim();
  return notAscii.test(clean) ? Buffer.from(clean).toString('latin1') : clean;
}

/** In every request, unless the file says otherwise. */
export const baseHeaders: Readonly<Record<string, string>> = { 'user-agent': userAgent };

/** By lower-case name, without those that nobody may set. */
export function usableHeaders<V>(
  headers: Readonly<Record<string, V>>,
  textOf: (value: V) => string,
): Record<string, string> {
  const usable: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const lowerCase = name.toLowerCase();
    if (!reservedHeaders.has(lowerCase)) usable[lowerCase] = headerValue(textOf(value));
  }
  return usable;
}

export function hasMembers(object: object): boolean {
  for (const _ in object) return true;
  return false;
}

const sensitiveName = /auth|token|secret|key|cookie|password|signature|credential/;

/** For a dead letter. */
export function describeHeaderValue(name: string, value: string): string {
  return sensitiveName.test(name) ? redacted : value;
}
