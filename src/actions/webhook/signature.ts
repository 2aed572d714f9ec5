import { createHmac, createSecretKey, type KeyObject, sign } from 'node:crypto';
import { fromBase64, privateKeyOf } from './keys.ts';

/** Signs a webhook as the Standard Webhooks specification asks. @see https://www.standardwebhooks.com */
export interface Signer {
  /**
   * The value of `webhook-signature`: one signature for each key, the newest first, separated by spaces.
   *
   * @param timestamp of this attempt, whole seconds since 1970
   * @param body the very bytes that are sent
   */
  sign(messageId: string, timestamp: number, body: Buffer): string;
}

/**
 * - `whsec_` + base64: HMAC-SHA256 (`v1`)
 * - `whsk_` + base64 of seed and public key: Ed25519 (`v1a`)
 * - anything else: HMAC-SHA256 with the bytes of the string
 *
 * @returns null without secrets
 * @throws RangeError when a secret holds no usable key; names its place in the list, never the secret
 */
export function createSigner(secrets: readonly string[]): Signer | null {
  if (secrets.length === 0) return null;
  const keys = secrets.map(toSigningKey);
  return {
    sign: (messageId, timestamp, body) => {
      const head = `${messageId}.${timestamp}.`;
      return keys.map((key) => key(head, body)).join(' ');
    },
  };
}

type SigningKey = (head: string, body: Buffer) => string;

function toSigningKey(secret: string, index: number): SigningKey {
  if (secret.startsWith('whsk_')) return ed25519Key(decoded(secret.slice('whsk_'.length), index), index);
  const bytes = secret.startsWith('whsec_') ? decoded(secret.slice('whsec_'.length), index) : Buffer.from(secret);
  if (bytes.length === 0) throw new RangeError(`secret ${index + 1} is empty`);
  const key: KeyObject = createSecretKey(bytes);
  return (head, body) => `v1,${createHmac('sha256', key).update(head).update(body).digest('base64')}`;
}

function ed25519Key(bytes: Buffer, index: number): SigningKey {
  if (bytes.length !== 32 && bytes.length !== 64) {
    throw new RangeError(`secret ${index + 1} (whsk_) must hold 32 or 64 bytes, it holds ${bytes.length}`);
  }
  const key = privateKeyOf(bytes);
  return (head, body) => `v1a,${sign(null, Buffer.concat([Buffer.from(head), body]), key).toString('base64')}`;
}

function decoded(text: string, index: number): Buffer {
  const bytes = fromBase64(text);
  if (bytes === null) throw new RangeError(`secret ${index + 1} is not base64 after its prefix`);
  return bytes;
}
