import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { createSigner } from '../../src/actions/webhook/signature.ts';

const vectors = [
  {
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    timestamp: 1614265330,
    body: '{"test": 2432232314}',
    signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  },
  {
    secret: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD',
    id: 'msg_27UH4WbU6Z5A5EzD8u03UvzRbpk',
    timestamp: 1649367553,
    body: '{"email":"test@example.com","username":"test_user"}',
    signature: 'v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=',
  },
  {
    secret: 'whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==',
    id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    timestamp: 1614265330,
    body: '{"test": 2432232314}',
    signature: 'v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==',
  },
];

describe('createSigner', () => {
  test.each(vectors)('the specification’s vector for $secret', ({ secret, id, timestamp, body, signature }) => {
    expect(createSigner([secret])?.sign(id, timestamp, Buffer.from(body))).toBe(signature);
  });

  test('during a rotation signs with each key, the newest first', () => {
    const [one, two] = vectors;
    const sign = (secrets: string[]) => createSigner(secrets)?.sign('msg_1', 1, Buffer.from('{}'));
    expect(sign([one?.secret ?? '', two?.secret ?? ''])).toBe(
      `${sign([one?.secret ?? ''])} ${sign([two?.secret ?? ''])}`,
    );
  });

  test('a plain string is used as bytes; an independent verifier agrees', () => {
    const now = Math.floor(Date.now() / 1000);
    const body = '{"name":"Zoë 🦊"}';
    const signature = createSigner(['päss'])?.sign('msg_1', now, Buffer.from(body)) ?? '';
    const verifier = new Webhook(Buffer.from('päss').toString('base64'));
    const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(now), 'webhook-signature': signature };
    expect(verifier.verify(body, headers)).toEqual({ name: 'Zoë 🦊' });
  });

  test('without secrets there is no signer', () => expect(createSigner([])).toBeNull());

  test.each([[''], ['whsec_'], ['whsec_not base64!'], ['whsk_AAAA']])('refuses %j without quoting it', (secret) => {
    const failure = (() => {
      try {
        createSigner(['whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD', secret]);
      } catch (error) {
        return error;
      }
    })();
    expect(failure).toBeInstanceOf(RangeError);
    expect(String(failure)).toContain('secret 2');
    if (secret.length > 6) expect(String(failure)).not.toContain(secret);
  });
});
