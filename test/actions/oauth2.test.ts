import { describe, expect, onTestFinished, test } from 'vitest';
import type { OAuth2Client } from '../../src/domain/webhook.ts';
import type { HttpReply } from '../../src/receivers/http-listener.ts';
import type { ReceivedWebhook } from '../../src/receivers/webhook-receiver.ts';
import { attempt, scopeOf, someMessageId, webhookAction } from './fixtures.ts';
import { client, pem, receive } from './loopback.ts';

const secret = 'cl1ent-s3cret/+ ü';

/** Gives out `token-1`, `token-2`, …; a receiver that takes what `accepts` says, at first everything. */
async function world(
  overrides: Partial<OAuth2Client> = {},
  answer: { expires_in?: unknown } | HttpReply = { expires_in: 3600 },
) {
  let accepts = (_token: string): boolean => true;
  const refuse = new Set<string>();
  let reply: typeof answer = answer;
  let held: Promise<void> = Promise.resolve();
  const issuer = await receive({
    respond: async ({ number }) => {
      await held;
      if ('status' in reply || 'misbehave' in reply) return reply;
      return { status: 200, body: JSON.stringify({ access_token: `t0ken-${number}`, token_type: 'bearer', ...reply }) };
    },
  });
  const receiver = await receive({
    respond: ({ headers }: ReceivedWebhook) => {
      const token = String(headers.authorization).replace('Bearer ', '');
      // Echoes what it got: no excerpt may hand the token on.
      return accepts(token) && !refuse.has(token) ? { status: 200, body: token } : { status: 401, body: token };
    },
  });
  const oauth2: OAuth2Client = {
    tokenUrl: `${issuer.url}/token`,
    clientId: 'pg observers',
    clientSecret: secret,
    scope: null,
    audience: null,
    clientAuth: 'basic',
    ...overrides,
  };
  const opened = client(receiver.url, { oauth2, concurrency: 30 });
  return {
    ...opened,
    issuer,
    receiver,
    revoke: (token: string) => refuse.add(token),
    acceptNothing: () => {
      accepts = () => false;
    },
    answerWith: (next: typeof answer) => {
      reply = next;
    },
    hold: () => {
      let release = () => {};
      held = new Promise((resolve) => {
        release = resolve;
      });
      onTestFinished(() => release());
      return () => release();
    },
    tokens: () => receiver.received.entries.map(({ headers }) => headers.authorization),
  };
}

describe('the request for a token', () => {
  test('client_secret_basic: both form-encoded, then joined', async () => {
    const { send, issuer } = await world({ scope: 'orders:write orders:read', audience: 'https://api.example.com/' });
    expect(await send()).toMatchObject({ kind: 'delivered' });
    const [request] = issuer.received.entries;
    expect(request).toMatchObject({ method: 'POST', path: '/token' });
    expect(Object.fromEntries(new URLSearchParams(request?.body))).toEqual({
      grant_type: 'client_credentials',
      scope: 'orders:write orders:read',
      audience: 'https://api.example.com/',
    });
    expect(request?.headers['content-type']).toBe('application/x-www-form-urlencoded');
    expect(Buffer.from(String(request?.headers.authorization).slice(6), 'base64').toString()).toBe(
      'pg+observers:cl1ent-s3cret%2F%2B+%C3%BC',
    );
  });

  test('client_secret_post: in the body', async () => {
    const { send, issuer } = await world({ clientAuth: 'post' });
    await send();
    const [request] = issuer.received.entries;
    expect(Object.fromEntries(new URLSearchParams(request?.body))).toEqual({
      grant_type: 'client_credentials',
      client_id: 'pg observers',
      client_secret: secret,
    });
    expect(request?.headers.authorization).toBeUndefined();
  });

  test('goes by the authorities of the file', async () => {
    const issuer = await receive({
      tls: { key: pem('server.key'), cert: pem('server.crt') },
      respond: () => ({ body: '{"access_token":"t0ken-1"}' }),
    });
    const receiver = await receive();
    const oauth2: OAuth2Client = {
      tokenUrl: issuer.url,
      clientId: 'me',
      clientSecret: secret,
      scope: null,
      audience: null,
      clientAuth: 'basic',
    };
    const tls = { ca: pem('authority.crt'), cert: null, key: null, passphrase: null, serverName: 'elsewhere.test' };
    expect(await client(receiver.url, { oauth2, tls }).send()).toMatchObject({ kind: 'delivered' });
    expect(await client(receiver.url, { oauth2 }).send()).toMatchObject({
      errorClass: 'oauth2_token',
      message: expect.stringContaining('certificate'),
    });
  });
});

describe('a token', () => {
  test('is asked for once, however many attempts wait, and kept', async () => {
    const { send, issuer, hold, tokens } = await world();
    const release = hold();
    const waiting = Array.from({ length: 25 }, () => send());
    await issuer.received.waitFor(1);
    release();
    expect((await Promise.all(waiting)).every(({ kind }) => kind === 'delivered')).toBe(true);
    await send();
    expect(issuer.received.total).toBe(1);
    expect(new Set(tokens())).toEqual(new Set(['Bearer t0ken-1']));
  });

  test('that is about to expire is replaced while it is still used', async () => {
    const { send, issuer, tokens, hold } = await world({}, { expires_in: 1000 });
    await send();
    // From now on within the last fifth, or minute, of its life.
    const { now } = performance;
    onTestFinished(() => {
      performance.now = now;
    });
    performance.now = () => now.call(performance) + 950_000;
    const release = hold();
    expect(await send()).toMatchObject({ kind: 'delivered' });
    await issuer.received.waitFor(2);
    expect(tokens()).toEqual(['Bearer t0ken-1', 'Bearer t0ken-1']);
    release();
    const used = async () => {
      await send();
      return tokens().at(-1);
    };
    await expect.poll(used).toBe('Bearer t0ken-2');
    expect(issuer.received.total).toBe(2);
  });

  test('that has expired is not used', async () => {
    const { send, issuer, tokens } = await world({}, { expires_in: 10 });
    await send();
    const { now } = performance;
    onTestFinished(() => {
      performance.now = now;
    });
    performance.now = () => now.call(performance) + 10_000;
    await send();
    expect(tokens()).toEqual(['Bearer t0ken-1', 'Bearer t0ken-2']);
    expect(issuer.received.total).toBe(2);
  });

  test('that was revoked is dropped, and the attempt goes on with a new one', async () => {
    const { send, revoke, issuer, tokens } = await world();
    await send();
    revoke('t0ken-1');
    const outcomes = await Promise.all(Array.from({ length: 10 }, () => send()));
    expect(outcomes.every(({ kind }) => kind === 'delivered')).toBe(true);
    expect(issuer.received.total).toBe(2);
    expect(tokens().filter((token) => token === 'Bearer t0ken-2')).toHaveLength(10);
  });

  test('that is new and refused all the same is the receiver’s answer', async () => {
    const { send, acceptNothing, issuer, receiver } = await world();
    acceptNothing();
    expect(await send()).toMatchObject({ kind: 'rejected', errorClass: 'http_401' });
    expect([issuer.received.total, receiver.received.total]).toEqual([1, 1]);
  });

  test('and the client’s secret are in no outcome and no description', async () => {
    const { client: opened, send, revoke } = await world({ clientSecret: 'cl1ent-s3cret' });
    const request = opened.render(webhookAction(), scopeOf(), someMessageId);
    const texts = [await opened.send(request, attempt()), opened.describe(request)];
    revoke('t0ken-1');
    revoke('t0ken-2');
    texts.push(await send());
    expect(JSON.stringify(texts)).toContain('[redacted]');
    expect(JSON.stringify(texts)).not.toMatch(/t0ken|s3cret/);
  });
});

describe('a token endpoint that gives none', () => {
  test.each([
    [{ status: 401, body: '{"error":"invalid_client"}' }, /answered 401 Unauthorized: invalid_client$/],
    [{ status: 400, body: `{"error":"${secret}"}` }, /answered 400 Bad Request$/],
    [{ status: 503 }, /answered 503 Service Unavailable$/],
    [{ status: 302, headers: { location: 'http://127.0.0.1:9/' } }, /answered 302 Found$/],
    [{ status: 200, body: '<html>' }, /without an access_token$/],
    [{ status: 200, body: '{"access_token":"a\\r\\nb"}' }, /without an access_token$/],
    [{ status: 200, body: '{"access_token":"a","token_type":"mac"}' }, /not of type Bearer$/],
    [{ misbehave: 'reset' }, /was not reached: the connection was cut$/],
  ] satisfies [HttpReply, RegExp][])('%j: retried, with a class of its own', async (reply, message) => {
    const { send, receiver } = await world({}, reply);
    expect(await send()).toMatchObject({
      kind: 'retry',
      errorClass: 'oauth2_token',
      status: null,
      responseExcerpt: null,
      message: expect.stringMatching(message),
    });
    expect(receiver.received.total).toBe(0);
  });

  test('says when to come again', async () => {
    const { send } = await world({}, { status: 429, headers: { 'retry-after': '7' } });
    expect(await send()).toMatchObject({ errorClass: 'oauth2_token', retryAfterMs: 7000 });
  });

  test('is not asked again by every attempt, and is after a while', async () => {
    const { send, issuer, answerWith } = await world({}, { status: 500 });
    await Promise.all(Array.from({ length: 10 }, () => send()));
    await send();
    expect(issuer.received.total).toBe(1);
    answerWith({ expires_in: 60 });
    const { now } = performance;
    onTestFinished(() => {
      performance.now = now;
    });
    performance.now = () => now.call(performance) + 1_000;
    expect(await send()).toMatchObject({ kind: 'delivered' });
  });

  test('and hangs is a failure within the attempt’s deadline', async () => {
    const { send, hold } = await world();
    hold();
    expect(await send({}, undefined, 100)).toMatchObject({ kind: 'retry', errorClass: 'oauth2_token' });
  });

  test('is refused', async () => {
    const { send } = await world({ tokenUrl: 'http://127.0.0.1:9/' });
    expect(await send()).toMatchObject({
      errorClass: 'oauth2_token',
      message: expect.stringContaining('the connection was refused'),
    });
  });
});
