import { describe, expect, test } from 'vitest';
import type { TlsOptions } from '../../src/domain/webhook.ts';
import { client, pem, receive } from './loopback.ts';

const none: TlsOptions = { ca: null, cert: null, key: null, passphrase: null, serverName: null };
const trusting: TlsOptions = { ...none, ca: pem('authority.crt') };
const identified: TlsOptions = { ...trusting, cert: pem('client.crt'), key: pem('client.key') };

const serve = (name: string, clientCa?: string) =>
  receive({ tls: { key: pem(`${name}.key`), cert: pem(`${name}.crt`), ...(clientCa !== undefined && { clientCa }) } });

describe('the receiver’s certificate', () => {
  test('is taken when it is signed by the authority of the file', async () => {
    const receiver = await serve('server');
    expect(await client(receiver.url, { tls: trusting }).send()).toMatchObject({ kind: 'delivered' });
  });

  test.each([
    ['signed by somebody else', 'server', { ...none, ca: pem('stranger.crt') }, 'signed by nobody that is trusted'],
    ['of an authority that the system does not know', 'server', null, 'signed by nobody that is trusted'],
    ['expired', 'expired', trusting, 'has expired'],
    ['for another host', 'wrong-host', trusting, 'is for another host'],
    ['for another host than `server_name`', 'server', { ...trusting, serverName: 'other.test' }, 'is for another host'],
  ])('%s is a TLS fault that says so', async (_, name, tls, reason) => {
    const receiver = await serve(name);
    const outcome = await client(receiver.url, { tls }).send();
    expect(outcome).toMatchObject({ kind: 'retry', errorClass: 'tls', message: expect.stringContaining(reason) });
    expect(receiver.received.total).toBe(0);
  });

  test('is asked for and checked by `server_name`', async () => {
    const receiver = await serve('wrong-host');
    const tls = { ...trusting, serverName: 'other.test' };
    expect(await client(receiver.url, { tls }).send()).toMatchObject({ kind: 'delivered' });
  });
});

describe('a client certificate', () => {
  test.each([
    ['plain', identified],
    ['with an encrypted key', { ...identified, key: pem('client-encrypted.key'), passphrase: 'open-sesame' }],
  ])('%s is shown to a receiver that demands one', async (_, tls) => {
    const receiver = await serve('server', pem('authority.crt'));
    expect(await client(receiver.url, { tls }).send()).toMatchObject({ kind: 'delivered' });
  });

  test('that is missing is a TLS fault that says so', async () => {
    const receiver = await serve('server', pem('authority.crt'));
    const outcome = await client(receiver.url, { tls: trusting }).send();
    expect(outcome).toMatchObject({
      kind: 'retry',
      errorClass: 'tls',
      message: expect.stringContaining('demands a client certificate'),
    });
    expect(receiver.received.total).toBe(0);
  });

  test('that the receiver does not trust leads nowhere', async () => {
    const receiver = await serve('server', pem('stranger.crt'));
    const outcome = await client(receiver.url, { tls: identified }).send();
    // Node's server cuts the connection without saying why.
    expect(outcome).toMatchObject({ kind: 'retry', errorClass: 'connection_reset' });
    expect(receiver.received.total).toBe(0);
  });

  test('and a key that do not belong together are refused when the destination is opened', () => {
    const tls = { ...identified, key: pem('server.key') };
    expect(() => client('https://127.0.0.1:9', { tls })).toThrowError(/^destination billing: tls: /);
  });
});
