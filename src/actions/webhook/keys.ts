import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';

/** Signing keys as Standard Webhooks spells them: `whsec_` (HMAC, v1), `whsk_` and `whpk_` (Ed25519, v1a). */

export type KeyType = 'v1' | 'v1a';

export interface GeneratedKey {
  readonly type: KeyType;
  /** For the sender; of v1 also for the receiver. */
  readonly secret: string;
  /** For the receiver; null for v1, where both sides have the same key. */
  readonly publicKey: string | null;
}

export function generateKey(type: KeyType): GeneratedKey {
  if (type === 'v1') return { type, secret: `whsec_${randomBytes(32).toString('base64')}`, publicKey: null };
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const seed = rawOf(privateKey.export({ format: 'der', type: 'pkcs8' }));
  const raw = rawOf(publicKey.export({ format: 'der', type: 'spki' }));
  return {
    type,
    secret: `whsk_${Buffer.concat([seed, raw]).toString('base64')}`,
    publicKey: `whpk_${raw.toString('base64')}`,
  };
}

/** Both forms end with the 32 bytes of the key (RFC 8410). */
function rawOf(der: Buffer): Buffer {
  return der.subarray(-32);
}

export function keyTypeOf(secret: string): KeyType {
  return secret.startsWith('whsk_') ? 'v1a' : 'v1';
}

/** Tells keys apart without telling them: 8 hex digits. Of a v1a key its public half's, so that both sides agree. */
export function keyFingerprint(key: string): string {
  const [, prefix = '', encoded = key] = /^(whsec_|whsk_|whpk_)(.*)$/.exec(key) ?? [];
  const bytes = prefix === '' ? Buffer.from(key) : Buffer.from(encoded, 'base64');
  const known = prefix === 'whsk_' ? rawOf(publicKeyOf(bytes).export({ format: 'der', type: 'spki' })) : bytes;
  return createHash('sha256').update(known).digest('hex').slice(0, 8);
}

/** The fixed beginnings of Ed25519 keys (RFC 8410): private in PKCS #8, public in SPKI. */
const pkcs8Ed25519 = Buffer.from('302e020100300506032b657004220420', 'hex');
const spkiEd25519 = Buffer.from('302a300506032b6570032100', 'hex');

/** @param bytes the seed, or seed and public key */
export function privateKeyOf(bytes: Buffer): KeyObject {
  return createPrivateKey({ key: Buffer.concat([pkcs8Ed25519, bytes.subarray(0, 32)]), format: 'der', type: 'pkcs8' });
}

/** @param bytes of a private key */
function publicKeyOf(bytes: Buffer): KeyObject {
  return createPublicKey(privateKeyOf(bytes));
}

/** @param bytes 32 */
export function publicKeyFrom(bytes: Buffer): KeyObject {
  return createPublicKey({ key: Buffer.concat([spkiEd25519, bytes]), format: 'der', type: 'spki' });
}

/** null for what is not base64: Buffer.from skips that, and would make a different key of a mistyped one. */
export function fromBase64(text: string): Buffer | null {
  return /^[A-Za-z0-9+/]+={0,2}$/.test(text) ? Buffer.from(text, 'base64') : null;
}
