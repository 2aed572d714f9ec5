import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { generateKey, keyFingerprint } from '../../src/actions/webhook/keys.ts';
import { createSigner } from '../../src/actions/webhook/signature.ts';
import { verifyingKey, verifyMessage } from '../../src/actions/webhook/verification.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
// The key pair of the specification's v1a vector.
const publicKey = 'whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=';
const id = 'msg_p5jXN8AQM9LWM0D4loKWxJek';
const at = 1614265330;
const body = '{"test": 2432232314}';
const v1 = 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=';
const v1a = 'v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==';

function verdict(
  keys: readonly string[],
  changed: Partial<{ signature: string; timestamp: string; id: string; body: string; now: number }> = {},
) {
  const { signature = v1, timestamp = String(at), body: text = body, now = at } = changed;
  const headers = {
    'webhook-id': changed.id ?? id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signature,
  };
  return verifyMessage({ headers, body: Buffer.from(text) }, keys.map(verifyingKey), now, 300);
}

describe('the vectors of the specification', () => {
  test.each([
    [secret, v1],
    [publicKey, v1a],
  ])('%s', (key, signature) => {
    expect(verdict([key], { signature, now: at + 7 })).toEqual({ valid: true, key: 0, ageSeconds: 7 });
    expect(verdict([key], { signature, body: `${body} ` })).toMatchObject({ valid: false, reason: 'no_key_fits' });
    expect(verdict([key], { signature, id: 'msg_other' })).toMatchObject({ reason: 'no_key_fits' });
    expect(verdict([key], { signature, timestamp: String(at + 1) })).toMatchObject({ reason: 'no_key_fits' });
  });
});

test('while keys are changed, either side may be first', () => {
  const other = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD';
  expect(verdict([other, secret])).toMatchObject({ valid: true, key: 1 });
  expect(verdict([secret], { signature: `v1,AAAA ${v1a} ${v1}` })).toMatchObject({ valid: true });
  expect(verdict([publicKey], { signature: `${v1} ${v1a}` })).toMatchObject({ valid: true });
  expect(verdict([secret], { signature: `v9,AAAA ${v1}` }), 'versions to come are passed over').toMatchObject({
    valid: true,
  });
});

test.each([
  ['header_missing', /webhook-signature is missing/, { signature: '' }],
  ['header_malformed', /whole seconds/, { timestamp: '1614265330.5' }],
  ['header_malformed', /whole seconds/, { timestamp: 'yesterday' }],
  ['header_malformed', /not a list/, { signature: 'g0hM9SsE' }],
  ['header_malformed', /not a list/, { signature: 'v1,***' }],
  ['header_malformed', /not a list/, { signature: `${v1},${v1}` }],
  ['no_key_fits', /another key, or the body/, { signature: 'v1,AAAA' }],
  ['no_key_fits', /signed with v1a, and the key is for v1$/, { signature: v1a }],
  ['too_old', /the signature fits, but the timestamp is 301 s old, and 300 s are allowed/, { now: at + 301 }],
  ['too_new', /301 s in the future, .*compare the clocks/, { now: at - 301 }],
])('%s: %s', (reason, message, changed) => {
  expect(verdict([secret], changed)).toMatchObject({ valid: false, reason, message: expect.stringMatching(message) });
});

test.each([
  ['whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==', /private key/],
  ['whsec_%%%', /not base64 after whsec_/],
  ['whpk_AAAA', /32 bytes, this has 3/],
  ['hunter2hunter2', /begins with whsec_ or whpk_/],
])('%s is no key to check with, and is not quoted', (key, message) => {
  expect(() => verifyingKey(key)).toThrowError(message);
  expect(() => verifyingKey(key)).not.toThrowError(key);
});

describe('generated keys', () => {
  test('v1: an independent verifier agrees', () => {
    const key = generateKey('v1');
    const now = Math.floor(Date.now() / 1000);
    const signature = createSigner([key.secret])?.sign('msg_1', now, Buffer.from('{}')) ?? '';
    const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(now), 'webhook-signature': signature };
    expect(new Webhook(key.secret).verify('{}', headers)).toEqual({});
    expect(Buffer.from(key.secret.slice(6), 'base64')).toHaveLength(32);
    expect(generateKey('v1').secret).not.toBe(key.secret);
  });

  test('v1a: what the secret signs, the public key fits; both have one fingerprint', () => {
    const key = generateKey('v1a');
    const signature = createSigner([key.secret])?.sign(id, at, Buffer.from(body)) ?? '';
    expect(verdict([key.publicKey ?? ''], { signature })).toMatchObject({ valid: true });
    expect(verdict([publicKey], { signature })).toMatchObject({ reason: 'no_key_fits' });
    expect(keyFingerprint(key.publicKey ?? '')).toBe(keyFingerprint(key.secret));
    expect(Buffer.from(key.secret.slice(5), 'base64')).toHaveLength(64);
  });
});
