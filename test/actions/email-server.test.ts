import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { email } from '../../src/actions/email/email.ts';
import type { EmailAction, EmailDestination, SmtpServer } from '../../src/domain/rules.ts';
import { type SmtpReceiver, type SmtpReceiverOptions, startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { checkDkim } from './dkim-check.ts';
import { attempt, emailAction, emailDestination, judged, scopeOf, someMessageId, template } from './fixtures.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const read = (name: string) => readFileSync(new URL(`tls/${name}`, import.meta.url), 'utf8');
const certificate = { key: read('self-signed.key'), cert: read('self-signed.crt') };
const noTls = { ca: null, cert: null, key: null, serverName: null, rejectUnauthorized: true };
const login = { user: 'mailer', pass: 'sm7p-p4ss' };

const receiverOf = async (options: SmtpReceiverOptions): Promise<SmtpReceiver> => {
  const receiver = await startSmtpReceiver(options);
  closing.push(receiver.close);
  return receiver;
};

function serverAt(receiver: SmtpReceiver, more: Partial<SmtpServer> = {}): SmtpServer {
  const { port } = new URL(receiver.url);
  return {
    host: '127.0.0.1',
    port: Number(port),
    secure: false,
    starttls: 'offered',
    auth: null,
    tls: noTls,
    name: null,
    ...more,
  };
}

function sendTo(
  smtp: EmailDestination['smtp'],
  more: Partial<EmailDestination> = {},
  action: Partial<EmailAction> = {},
) {
  const client = email.open({ ...emailDestination('smtp://x'), smtp, ...more });
  closing.push(() => client.close());
  return judged('email', client.send(client.render(emailAction(action), scopeOf(), someMessageId), attempt()));
}

describe('the connection', () => {
  test.each([
    ['STARTTLS', { starttls: true }, { starttls: 'required' }],
    ['TLS', {}, { secure: true }],
  ] as const)('%s with a certificate that its own authority vouches for', async (_, options, server) => {
    const receiver = await receiverOf({ ...options, tls: certificate });
    const smtp = serverAt(receiver, { ...server, tls: { ...noTls, ca: certificate.cert } });
    expect(await sendTo(smtp)).toMatchObject({ kind: 'delivered' });
    expect(receiver.received.entries[0]?.secure).toBe(true);
    expect(await sendTo({ ...smtp, tls: noTls })).toMatchObject({ kind: 'retry', errorClass: 'tls' });
    const strange = { ...smtp, tls: { ...smtp.tls, serverName: 'mail.example.com' } };
    expect(await sendTo(strange)).toMatchObject({ kind: 'retry', errorClass: 'tls' });
    expect(await sendTo({ ...smtp, tls: { ...noTls, rejectUnauthorized: false } })).toMatchObject({
      kind: 'delivered',
    });
  });

  test('STARTTLS that is required and not offered: a TLS fault, and the password stays here', async () => {
    const receiver = await receiverOf({ auth: login });
    const smtp = serverAt(receiver, { starttls: 'required', auth: { ...login, method: null } });
    const outcome = await sendTo(smtp);
    expect(outcome).toMatchObject({ kind: 'retry', errorClass: 'tls', message: expect.stringContaining('STARTTLS') });
    expect(receiver.received.total).toBe(0);
    // A URL may ask for it, too.
    expect(await sendTo(`${receiver.url}?requireTLS=true`)).toMatchObject({ kind: 'retry', errorClass: 'tls' });
  });

  test('STARTTLS that is off is not begun', async () => {
    const receiver = await receiverOf({ starttls: true, tls: certificate });
    expect(await sendTo(serverAt(receiver, { starttls: 'off' }))).toMatchObject({ kind: 'delivered' });
    expect(receiver.received.entries[0]?.secure).toBe(false);
  });

  test.each(['PLAIN', 'LOGIN'] as const)('a login by %s', async (method) => {
    const receiver = await receiverOf({ auth: login, authMethods: [method] });
    for (const wanted of [method, null]) {
      const smtp = serverAt(receiver, { auth: { ...login, method: wanted } });
      expect(await sendTo(smtp)).toMatchObject({ kind: 'delivered' });
    }
    expect(receiver.received.entries.map(({ user }) => user)).toEqual(['mailer', 'mailer']);
    const wrong = await sendTo(serverAt(receiver, { auth: { user: 'mailer', pass: 'wr0ng-pass', method: null } }));
    expect(wrong).toMatchObject({ kind: 'retry', errorClass: 'smtp_535' });
    expect(JSON.stringify(wrong)).not.toContain('wr0ng-pass');
  });

  test('carries as many mails as it may, and then another one is made', async () => {
    const receiver = await receiverOf({});
    const client = email.open(emailDestination(receiver.url, { concurrency: 1, maxMessages: 2 }));
    closing.push(() => client.close());
    for (let i = 0; i < 5; i++) {
      await client.send(client.render(emailAction(), scopeOf(), someMessageId), attempt());
    }
    expect(receiver.received.total).toBe(5);
    expect(receiver.connections.total).toBe(3);
  });
});

test('DKIM: the signature holds, and covers what unsubscribes', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const receiver = await receiverOf({});
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const dkim = { domain: 'shop.example', selector: 'k1', privateKey: pem };
  const unsubscribe = {
    url: template('https://shop.example/u?c=${{ new.id }}', 'header'),
    mailto: null,
    oneClick: true,
  };
  const action = { unsubscribe, html: template('<p>Größe  ${{ new.id }}</p>\n\n\n', 'html') };
  expect(await sendTo(receiver.url, { dkim }, action)).toMatchObject({ kind: 'delivered' });
  const raw = receiver.received.entries[0]?.raw ?? Buffer.alloc(0);
  const { valid, tags } = checkDkim(raw, publicKey);
  expect(valid).toBe(true);
  expect([tags.get('d'), tags.get('s'), tags.get('a'), tags.get('c')]).toEqual([
    'shop.example',
    'k1',
    'rsa-sha256',
    'relaxed/relaxed',
  ]);
  const covered = (tags.get('h') ?? '').toLowerCase().split(':');
  expect(covered).toEqual(
    expect.arrayContaining(['from', 'to', 'subject', 'message-id', 'list-unsubscribe', 'list-unsubscribe-post']),
  );
  // The judge can say no.
  const forged = Buffer.from(raw.toString('latin1').replace('Order 42', 'Order 43'), 'latin1');
  expect(checkDkim(forged, publicKey).valid).toBe(false);
});
