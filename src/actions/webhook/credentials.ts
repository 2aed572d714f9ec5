import { UserError } from '../../domain/errors.ts';
import type { WebhookDestination } from '../../domain/rules.ts';
import { basicPair } from '../http/access-tokens.ts';
import type { TlsIdentity } from '../http/connection.ts';
import { tlsIdentity } from '../http/tls.ts';
import { secretsOfUrl } from '../redaction.ts';
import { createSigner, type Signer } from './signature.ts';

/** What a destination knows that others must not. */

/** Credentials in the URL mean Basic authentication, as in every HTTP client; undici leaves them out. */
export function basicAuthorization(url: URL | null): Record<string, string> {
  if (url === null || (url.username === '' && url.password === '')) return {};
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

const howToMakeOne = 'make one: pg-observers keys generate';

/** @throws UserError when a secret is no key */
export function signerOf({ name, secrets }: WebhookDestination): Signer | null {
  try {
    return createSigner(secrets);
  } catch (error) {
    throw new UserError(`destination ${name}: ${reasonOf(error)}  (${howToMakeOne})`, 2, { code: 'PGO-KEY' });
  }
}

/**
 * @param peer the token endpoint is asked by its own name
 * @throws UserError when certificate and key can't be used
 */
export function tlsOf(
  { name, tls }: WebhookDestination,
  peer: 'receiver' | 'token endpoint' = 'receiver',
): TlsIdentity | null {
  try {
    return tlsIdentity(tls && { ...tls, serverName: peer === 'receiver' ? tls.serverName : null });
  } catch (error) {
    throw new UserError(`destination ${name}: tls: ${reasonOf(error)}`, 2, { code: 'PGO-KEY' });
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** In every spelling in which a receiver might echo them. */
export function secretsOf({ headers, secrets, oauth2 }: WebhookDestination, url: URL | null): string[] {
  const headerValues = Object.values(headers);
  // "Bearer abc" is echoed as "abc" by some receivers.
  const credentials = [...headerValues, ...Object.values(basicAuthorization(url))].map(withoutScheme);
  const keys = secrets.map((secret) => secret.replace(/^wh(sec|sk)_/, ''));
  const client = oauth2 === null ? [] : [oauth2.clientSecret, basicPair(oauth2.clientId, oauth2.clientSecret)];
  return [...secrets, ...keys, ...headerValues, ...credentials, ...client, ...(url === null ? [] : secretsOfUrl(url))];
}

function withoutScheme(value: string): string {
  return value.replace(/^\S+\s+/, '');
}
