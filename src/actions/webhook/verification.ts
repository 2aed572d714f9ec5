import { createHmac, timingSafeEqual, verify } from 'node:crypto';
import { fromBase64, publicKeyFrom } from './keys.ts';

/** A received webhook, as it came. */
export interface ReceivedMessage {
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** The very bytes. */
  readonly body: Buffer;
}

export type Verdict =
  | { readonly valid: true; readonly key: number; readonly ageSeconds: number }
  | { readonly valid: false; readonly reason: RefusalReason; readonly message: string };

export type RefusalReason = 'header_missing' | 'header_malformed' | 'no_key_fits' | 'too_old' | 'too_new';

/** Checks signatures of one version with one key. */
export interface VerifyingKey {
  readonly version: 'v1' | 'v1a';
  fits(content: Buffer, signature: Buffer): boolean;
}

/**
 * @param text `whsec_…`, or the public `whpk_…`
 * @throws RangeError when it is no key; never quotes it
 */
export function verifyingKey(text: string): VerifyingKey {
  const [, prefix, encoded = ''] = /^(whsec_|whpk_)(.*)$/s.exec(text) ?? [];
  const bytes = fromBase64(encoded);
  if (text.startsWith('whsk_'))
    throw new RangeError('whsk_ is the sender’s private key; a receiver has its public half, whpk_');
  if (prefix === undefined) throw new RangeError('a key begins with whsec_ or whpk_');
  if (bytes === null) throw new RangeError(`it is not base64 after ${prefix}`);
  if (prefix === 'whsec_') return hmacKey(bytes);
  if (bytes.length !== 32) throw new RangeError(`a whpk_ key has 32 bytes, this has ${bytes.length}`);
  const key = publicKeyFrom(bytes);
  return { version: 'v1a', fits: (content, signature) => verify(null, content, key, signature) };
}

function hmacKey(bytes: Buffer): VerifyingKey {
  return {
    version: 'v1',
    fits: (content, signature) => {
      const expected = createHmac('sha256', bytes).update(content).digest();
      return expected.length === signature.length && timingSafeEqual(expected, signature);
    },
  };
}

/** What a receiver does. The key comes before the clock: of a message that is too old, one wants to know whether it was ours. */
export function verifyMessage(
  { headers, body }: ReceivedMessage,
  keys: readonly VerifyingKey[],
  nowSeconds: number,
  toleranceSeconds: number,
): Verdict {
  const missing = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].find((name) => !headers[name]);
  if (missing !== undefined) return refused('header_missing', `the header ${missing} is missing`);
  const { 'webhook-id': id = '', 'webhook-timestamp': timestamp = '', 'webhook-signature': header = '' } = headers;
  if (!/^\d{1,12}$/.test(timestamp)) {
    return refused('header_malformed', 'webhook-timestamp is not a number of whole seconds since 1970');
  }
  const signatures = parseSignatures(header);
  if (signatures === null) {
    return refused('header_malformed', 'webhook-signature is not a list such as `v1,BASE64 v1a,BASE64`');
  }
  const content = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  const key = keys.findIndex((candidate) =>
    signatures.some(({ version, bytes }) => version === candidate.version && candidate.fits(content, bytes)),
  );
  if (key < 0) return noKeyFits(keys, signatures);
  const ageSeconds = nowSeconds - Number(timestamp);
  const limit = `the signature fits, but the timestamp is ${Math.abs(ageSeconds)} s`;
  if (ageSeconds > toleranceSeconds) return refused('too_old', `${limit} old, and ${toleranceSeconds} s are allowed`);
  if (-ageSeconds > toleranceSeconds) {
    return refused('too_new', `${limit} in the future, and ${toleranceSeconds} s are allowed: compare the clocks`);
  }
  return { valid: true, key, ageSeconds };
}

interface Signature {
  readonly version: string;
  readonly bytes: Buffer;
}

/** Signatures of versions that we do not know are passed over, as the specification asks. */
function parseSignatures(header: string): Signature[] | null {
  const parsed = header
    .trim()
    .split(/ +/)
    .map((part) => {
      const [, version = '', encoded = ''] = /^([A-Za-z0-9]+),(.+)$/.exec(part) ?? [];
      return { version, bytes: fromBase64(encoded) };
    });
  const complete = parsed.flatMap(({ version, bytes }) => (bytes === null ? [] : [{ version, bytes }]));
  return complete.length === parsed.length ? complete : null;
}

function noKeyFits(keys: readonly VerifyingKey[], signatures: readonly Signature[]): Verdict {
  const wanted = [...new Set(keys.map(({ version }) => version))];
  const given = [...new Set(signatures.map(({ version }) => version))];
  const comparable = wanted.some((version) => given.includes(version));
  const why = comparable
    ? 'another key, or the body is not byte for byte what was sent'
    : `signed with ${given.join(' and ')}, and the key is for ${wanted.join(' and ')}`;
  return refused('no_key_fits', `no signature fits: ${why}`);
}

function refused(reason: RefusalReason, message: string): Verdict {
  return { valid: false, reason, message };
}
