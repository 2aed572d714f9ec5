import { createHash } from 'node:crypto';
import { childOf } from './document.ts';

/** 12 hex digits (48 bits): enough to tell the versions of one file apart. */
export function fingerprint(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex').slice(0, 12);
}

export function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

/** JSON with sorted keys: the order in which a mapping was written does not matter. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(childOf(value, key))}`).join(',')}}`;
}

/** Keys of a destination whose values are secret even when they stand in the file literally. */
const secretKeys: ReadonlySet<string> = new Set([
  'secret',
  'token',
  'smtp',
  'webhook_url',
  'headers',
  'bearer',
  'password',
  'client_secret',
  'key',
  'passphrase',
  'private_key',
  'with',
]);

/** A destination as written, without what is secret in it. */
export function withoutSecrets(value: unknown): unknown {
  if (typeof value === 'string') return withoutCredentials(value);
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (value === null || typeof value !== 'object') return value;
  const keys = Object.keys(value).filter((key) => !secretKeys.has(key));
  return Object.fromEntries(keys.map((key) => [key, withoutSecrets(childOf(value, key))]));
}

/** A URL without user, password, query and fragment; other texts as they are. */
export function withoutCredentials(text: string): string {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return text;
  return text.replace(/:\/\/[^/@]*@/, '://').replace(/[?#].*$/s, '');
}
