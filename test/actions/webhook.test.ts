import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { afterEach, describe, expect, test } from 'vitest';
import { webhook } from '../../src/actions/webhook/webhook.ts';
import type { Outcome } from '../../src/domain/outcome.ts';
import { longestDelayMs } from '../../src/domain/retry.ts';
import type { WebhookAction, WebhookDestination } from '../../src/domain/rules.ts';
import type { HttpReply } from '../../src/receivers/http-listener.ts';
import { startWebhookReceiver, type WebhookReceiverOptions } from '../../src/receivers/webhook-receiver.ts';
import { attempt, judged, scopeOf, someMessageId, template, webhookAction, webhookDestination } from './fixtures.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function receiverFor(reply: HttpReply | WebhookReceiverOptions['respond'], options: WebhookReceiverOptions = {}) {
  const respond = typeof reply === 'function' ? reply : () => reply ?? {};
  const receiver = await startWebhookReceiver({ ...options, respond });
  closing.push(receiver.close);
  return receiver;
}

function clientFor(url: string, overrides: Partial<WebhookDestination> = {}) {
  const client = webhook.open(webhookDestination(url, overrides));
  closing.push(() => client.close());
  const send = (action: Partial<WebhookAction> = {}, timeoutMs?: number): Promise<Outcome> =>
    judged('webhook', client.send(client.render(webhookAction(action), scopeOf(), someMessageId), attempt(timeoutMs)));
  return { client, send };
}

async function exchange(reply: HttpReply, timeoutMs?: number) {
  const receiver = await receiverFor(reply);
  return { receiver, outcome: await clientFor(`${receiver.url}/in`).send({}, timeoutMs) };
}

describe('the request', () => {
  test('is the envelope, signed so that an independent verifier accepts it', async () => {
    const receiver = await receiverFor({ status: 204 });
    const secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'];
    await clientFor(`${receiver.url}/hooks?v=1`, { secrets }).send();
    const [request] = await receiver.received.waitFor(1);
    expect(request).toMatchObject({ method: 'POST', path: '/hooks?v=1', messageId: someMessageId });
    expect(request?.headers).toMatchObject({ 'content-type': 'application/json' });
    expect(request?.headers['user-agent']).toMatch(/^pg-observers\/\d+\.\d+\.\d+/);
    for (const secret of secrets) {
      const headers = request?.headers as Record<string, string>;
      expect(new Webhook(secret).verify(request?.body ?? '', headers)).toMatchObject({ type: 'orders.update' });
    }
  });

  test('a body from a template keeps the digits of its numbers', async () => {
    const receiver = await receiverFor({});
    await clientFor(receiver.url).send({ body: template({ total: '${{ new.total }}' }) });
    expect(receiver.received.entries[0]?.body).toBe('{"total":12345678901234567890.10}');
  });

  test('without secrets it is unsigned but has id and timestamp', async () => {
    const receiver = await receiverFor({});
    await clientFor(receiver.url).send();
    const headers = receiver.received.entries[0]?.headers;
    expect(headers?.['webhook-signature']).toBeUndefined();
    expect(headers?.['webhook-id']).toBe(someMessageId);
    expect(Number(headers?.['webhook-timestamp'])).toBeCloseTo(Date.now() / 1000, -2);
  });

  test('headers: static, then the action’s; reserved ones and line breaks never get through', async () => {
    const receiver = await receiverFor({});
    const destination = { headers: { 'x-env': 'test', 'x-order': 'static' } };
    const headers = {
      'x-order': template('a\r\nx-evil: 1\0', 'plain'),
      'x-name': template('Zoë', 'header'),
      'webhook-id': template('forged'),
      'content-length': template('3'),
    };
    expect(await clientFor(receiver.url, destination).send({ headers })).toMatchObject({ kind: 'delivered' });
    const seen = receiver.received.entries[0]?.headers ?? {};
    expect(seen).toMatchObject({ 'x-env': 'test', 'x-order': 'ax-evil: 1', 'webhook-id': someMessageId });
    expect(Buffer.from(String(seen['x-name']), 'latin1').toString()).toBe('Zoë');
    expect(seen).not.toHaveProperty('x-evil');
  });

  test('credentials in the URL are sent as Basic authentication', async () => {
    const receiver = await receiverFor({});
    await clientFor(receiver.url.replace('//', '//us%40er:p%3Ass@')).send();
    expect(receiver.received.entries[0]?.headers.authorization).toBe(`Basic ${btoa('us@er:p:ss')}`);
  });

  test('a secret that is no key is refused at open, by place and not by value', () => {
    const open = () => webhook.open(webhookDestination('http://127.0.0.1:9', { secrets: ['whsec_%%%'] }));
    expect(open).toThrowError(/destination billing: secret 1 /);
    expect(open).not.toThrowError(/%%%/);
  });
});

describe('statuses', () => {
  test.each([200, 201, 202, 204, 299])('%i is delivered', async (status) => {
    expect((await exchange({ status })).outcome).toMatchObject({
      kind: 'delivered',
      status,
      errorClass: null,
      responseExcerpt: null,
    });
  });

  test('410 disables', async () => {
    expect((await exchange({ status: 410 })).outcome).toMatchObject({ kind: 'disable', errorClass: 'http_410' });
  });

  test.each([
    ['disable', 503, 'disable'],
    [' Abort-Message ', 503, 'abort'],
    ['disable', 204, 'disable'],
    ['stop', 503, null],
  ])('webhook-delivery: %s on a %i', async (value, status, request) => {
    const { outcome } = await exchange({ status, headers: { 'webhook-delivery': value } });
    expect(outcome).toMatchObject({ status, request });
  });

  test.each([300, 301, 302, 304, 307, 308, 408, 409, 425, 429, 500, 501, 502, 503, 504, 599])(
    '%i is retried',
    async (status) => {
      const { outcome } = await exchange({ status });
      expect(outcome).toMatchObject({ kind: 'retry', status, errorClass: `http_${status}`, retryAfterMs: null });
    },
  );

  test.each([400, 401, 403, 404, 422])('%i is rejected', async (status) => {
    const { outcome } = await exchange({ status, body: 'why' });
    expect(outcome).toMatchObject({ kind: 'rejected', status, errorClass: `http_${status}`, responseExcerpt: 'why' });
  });

  test('a redirect is not followed', async () => {
    const target = await receiverFor({});
    const { receiver, outcome } = await exchange({ status: 302, headers: { location: target.url } });
    expect(outcome).toMatchObject({ kind: 'retry', message: expect.stringContaining('redirects are not followed') });
    expect([receiver.received.total, target.received.total]).toEqual([1, 0]);
  });

  test.each([
    ['120', 120_000],
    ['0.5', 500],
    ['1e30', null],
    ['99999999999', longestDelayMs],
    ['tomorrow', null],
  ])('Retry-After: %s', async (value, retryAfterMs) => {
    const { outcome } = await exchange({ status: 429, headers: { 'retry-after': value } });
    expect(outcome).toMatchObject({ kind: 'retry', retryAfterMs });
  });

  test('Retry-After as a date', async () => {
    const date = new Date(Date.now() + 3_600_000).toUTCString();
    const { outcome } = await exchange({ status: 503, headers: { 'retry-after': date } });
    const delay = outcome.retryAfterMs ?? 0;
    expect(delay).toBeGreaterThan(3_000_000);
    expect(delay).toBeLessThanOrEqual(3_600_000);
  });
});

describe('hostile answers', () => {
  test.each(['hang-after-headers', 'drip'] as const)(
    '%s on a 2xx is a timeout that names the status',
    async (misbehave) => {
      const { receiver, outcome } = await exchange({ status: 200, misbehave }, 200);
      expect(outcome).toMatchObject({ kind: 'retry', errorClass: 'timeout', status: 200 });
      await receiver.connections.whenEmpty();
    },
  );

  test('a failing status decides even when its body hangs', async () => {
    const reply = { status: 400, misbehave: 'hang-after-headers' } as const;
    expect((await exchange(reply, 200)).outcome).toMatchObject({ kind: 'rejected', errorClass: 'http_400' });
  });

  test('a 2xx that breaks off is no success', async () => {
    const { outcome } = await exchange({ status: 200, body: '{"half":', misbehave: 'truncate' });
    expect(outcome).toMatchObject({
      kind: 'retry',
      errorClass: 'connection_reset',
      status: 200,
      responseExcerpt: '{"half":',
    });
  });

  test('a reset is retried', async () => {
    const { outcome } = await exchange({ misbehave: 'reset' });
    expect(outcome).toMatchObject({ kind: 'retry', errorClass: 'connection_reset', status: null });
  });

  test('an answer up to 64 KiB leaves the connection open, a longer one costs it', async () => {
    const { receiver, outcome } = await exchange({ body: 'a'.repeat(64 * 1024) });
    expect(outcome).toMatchObject({ kind: 'delivered', responseExcerpt: 'a'.repeat(2048) });
    expect(receiver.connections.size).toBe(1);
    const long = await exchange({ body: 'é'.repeat(1024 * 1024) });
    expect(long.outcome).toMatchObject({ kind: 'delivered', responseExcerpt: 'é'.repeat(1024) });
    await long.receiver.connections.whenEmpty();
  });

  test('what is not HTTP is a protocol fault', async () => {
    const url = await startTcp('http', (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
    expect(await clientFor(url).send()).toMatchObject({ kind: 'retry', errorClass: 'protocol' });
  });

  test('a self-signed certificate is a TLS fault', async () => {
    const read = (name: string) => readFileSync(new URL(`tls/${name}`, import.meta.url), 'utf8');
    const tls = { key: read('self-signed.key'), cert: read('self-signed.crt') };
    const receiver = await receiverFor({}, { tls });
    expect(await clientFor(receiver.url).send()).toMatchObject({ kind: 'retry', errorClass: 'tls', status: null });
    expect(receiver.received.total).toBe(0);
  });

  test('a connection that never comes about does not outlive the deadline, nor does close wait for it', async () => {
    // A TLS handshake without an answer: the client is still connecting, like to an address that drops packets.
    let cut = () => {};
    const whenCut = new Promise<void>((resolve) => {
      cut = resolve;
    });
    const url = await startTcp('https', (socket) => socket.on('close', cut).resume());
    const { client, send } = clientFor(url, { timeoutMs: 600_000 });
    expect(await send({}, 100)).toMatchObject({ kind: 'retry', errorClass: 'timeout' });
    await whenCut;
    await client.close();
  });
});

async function startTcp(scheme: string, onConnection: (socket: Socket) => void): Promise<string> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    for (const socket of open) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  return `${scheme}://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/`;
}
