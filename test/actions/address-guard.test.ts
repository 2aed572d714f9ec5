import type { LookupFunction } from 'node:net';
import { describe, expect, test } from 'vitest';
import { specialRangeOf } from '../../src/actions/http/address-ranges.ts';
import type { AddressPolicy } from '../../src/domain/webhook.ts';
import { compileUrl } from '../../src/expression/index.ts';
import { client, pem, receive } from './loopback.ts';

/** Answers in turn, the last one for ever; what was asked is counted. */
function dns(...answers: readonly (readonly string[])[]) {
  const asked: string[] = [];
  const lookup: LookupFunction = (hostname, _options, callback) => {
    asked.push(hostname);
    const addresses = answers[Math.min(asked.length, answers.length) - 1] ?? [];
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
  };
  return { lookup, asked };
}

const policy = (overrides: Partial<AddressPolicy> = {}): AddressPolicy => ({
  guard: 'auto',
  allow: [],
  deny: [],
  ...overrides,
});

/** A destination whose URL is the column `url` of the event. */
function fromEvent(addresses: AddressPolicy = policy(), lookup?: LookupFunction, more = {}) {
  const url = '${{ new.url }}';
  const { send } = client(url, { urlTemplate: compileUrl(url), addresses, ...more }, lookup);
  return { send: (to: string, timeoutMs?: number) => send({}, JSON.stringify({ url: to }), timeoutMs) };
}

const refused = (rule: string | RegExp) => ({
  kind: 'rejected',
  errorClass: 'address_refused',
  status: null,
  message: expect.stringMatching(rule),
});

describe('what is not on the internet', () => {
  test.each([
    '0.0.0.0',
    '0.1.2.3',
    '10.1.2.3',
    '100.64.0.1',
    '100.127.255.255',
    '127.0.0.1',
    '127.255.255.254',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.192',
    '192.0.2.1',
    '192.168.1.1',
    '198.18.0.1',
    '198.19.255.255',
    '198.51.100.7',
    '203.0.113.9',
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
    '255.255.255.255',
    '100.100.100.200',
    '168.63.129.16',
    '192.88.99.1',
    '::',
    '::1',
    '::7f00:1',
    '::ffff:127.0.0.1',
    '::ffff:8.8.8.8',
    '::ffff:0:127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '2001::1',
    '2001:db8::1',
    '2001:2::1',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'fe80::1%eth0',
    'febf::1',
    'fec0::1',
    'ff02::1',
    '3fff::1',
    '100::1',
    '5f00::1',
    '4000::1',
  ])('%s', (address) => expect(specialRangeOf(address)).not.toBeNull());

  test.each([
    '1.1.1.1',
    '8.8.8.8',
    '100.63.255.255',
    '100.128.0.1',
    '172.15.255.255',
    '172.32.0.1',
    '192.0.1.1',
    '198.17.255.255',
    '223.255.255.255',
    '2606:4700:4700::1111',
    '2a00:1450:4001::1',
  ])('but %s is', (address) => expect(specialRangeOf(address)).toBeNull());
});

describe('a URL that comes from an event', () => {
  test.each([
    'http://127.0.0.1/',
    'http://2130706433/',
    'http://0x7f.1/',
    'http://127.1/',
    'http://0177.0.0.1/',
    'http://１２７.０.０.１/',
    'http://127.0.0.1./',
    'http://[::1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::7f00:1]/',
    'http://[64:ff9b::7f00:1]/',
    'http://[2002:7f00:1::]/',
    'http://169.254.169.254/latest/meta-data/',
    'http://[fd00:ec2::254]/',
    'http://0/',
    'http://①②⑦.0.0.1/',
  ])('%s is refused without asking the DNS', async (url) => {
    const { lookup, asked } = dns(['127.0.0.1']);
    expect(await fromEvent(policy(), lookup).send(url)).toMatchObject(refused(/ is refused: \S+\/\d+ \(/));
    expect(asked).toEqual([]);
  });

  test('names the rule, in an outcome that is not tried again', async () => {
    expect(await fromEvent().send('http://10.1.2.3:8080/x')).toMatchObject(
      refused('not connected to 10.1.2.3:8080: 10.1.2.3 is refused: 10.0.0.0/8 \\(a private network\\)'),
    );
  });

  test.each(['localhost', 'localhost.', 'LOCALHOST', 'internal.test'])(
    '%s is refused by what it resolves to',
    async (host) => {
      const { lookup, asked } = dns(['127.0.0.1', '::1']);
      expect(await fromEvent(policy(), lookup).send(`http://${host}/`)).toMatchObject(
        refused(/ is at 127\.0\.0\.1, which is refused: 127/),
      );
      expect(asked).toEqual([host.toLowerCase()]);
    },
  );

  test.each([[['1.1.1.1', '10.0.0.1']], [['10.0.0.1', '1.1.1.1']], [['2606:4700:4700::1111', '::ffff:10.0.0.1']]])(
    'a name with public and private answers %j is refused',
    async (answers) => {
      const { lookup } = dns(answers);
      expect(await fromEvent(policy(), lookup).send('http://mixed.test/')).toMatchObject(refused(/mixed\.test is at /));
    },
  );

  test('a name without an answer is a DNS fault, and tried again', async () => {
    expect(await fromEvent(policy(), dns([]).lookup).send('http://nobody.test/')).toMatchObject({
      kind: 'retry',
      errorClass: 'dns',
    });
  });

  test('connects to the very address that was looked at, and asks again for every connection', async () => {
    const receiver = await receive({ host: '127.0.0.2', respond: () => ({ headers: { connection: 'close' } }) });
    const elsewhere = await receive({ host: '127.0.0.1', port: Number(new URL(receiver.url).port) });
    // Rebinding: allowed at first, then the other machine.
    const { lookup, asked } = dns(['127.0.0.2'], ['127.0.0.1']);
    const { send } = fromEvent(policy({ allow: ['127.0.0.2'] }), lookup);
    const url = receiver.url.replace('127.0.0.2', 'rebinding.test');
    expect(await send(url)).toMatchObject({ kind: 'delivered' });
    expect(await send(url)).toMatchObject(refused('rebinding.test is at 127.0.0.1'));
    expect(asked).toEqual(['rebinding.test', 'rebinding.test']);
    expect([receiver.received.total, elsewhere.received.total]).toEqual([1, 0]);
    expect(receiver.received.entries[0]?.headers.host).toBe(new URL(url).host);
  });

  test('keeps the name for TLS', async () => {
    const receiver = await receive({ tls: { key: pem('server.key'), cert: pem('server.crt') } });
    const tls = { ca: pem('authority.crt'), cert: null, key: null, passphrase: null, serverName: null };
    const { lookup } = dns(['127.0.0.1']);
    const { send } = fromEvent(policy({ allow: ['127.0.0.0/8'] }), lookup, { tls });
    expect(await send(receiver.url.replace('127.0.0.1', 'receiver.test'))).toMatchObject({ kind: 'delivered' });
    expect(await send(receiver.url.replace('127.0.0.1', 'other.test'))).toMatchObject({
      kind: 'retry',
      errorClass: 'tls',
      message: expect.stringContaining('another host'),
    });
  });

  test('a redirect to a private address is not followed', async () => {
    const target = await receive();
    const receiver = await receive({
      host: '127.0.0.2',
      respond: () => ({ status: 307, headers: { location: target.url } }),
    });
    const { send } = fromEvent(policy({ allow: ['127.0.0.2'] }));
    expect(await send(receiver.url)).toMatchObject({ errorClass: 'http_307' });
    expect(target.received.total).toBe(0);
  });

  test('a hanging resolver does not outlive the deadline', async () => {
    const { send } = fromEvent(policy(), () => {});
    expect(await send('http://slow.test/', 100)).toMatchObject({ kind: 'retry', errorClass: 'timeout' });
  });
});

describe('the lists', () => {
  test('allow lets a host or a range through, deny wins', async () => {
    const receiver = await receive();
    const port = new URL(receiver.url).port;
    const { lookup } = dns(['127.0.0.1']);
    const to = (addresses: Partial<AddressPolicy>, host: string) =>
      fromEvent(policy(addresses), lookup).send(`http://${host}:${port}/`);
    const delivered = { kind: 'delivered' };
    expect(await to({ allow: ['hooks.test'] }, 'hooks.test')).toMatchObject(delivered);
    expect(await to({ allow: ['*.test'] }, 'a.hooks.test')).toMatchObject(delivered);
    expect(await to({ allow: ['127.0.0.0/8'] }, 'a.test')).toMatchObject(delivered);
    expect(await to({ guard: 'off' }, '127.0.0.1')).toMatchObject(delivered);
    expect(await to({ allow: ['*.hooks.test'] }, 'hooks.test')).toMatchObject(refused('127.0.0.0/8'));
    expect(await to({ allow: ['*.hooks.test'] }, 'evilhooks.test')).toMatchObject(refused('127.0.0.0/8'));
    expect(await to({ allow: ['hooks.test'], deny: ['127.0.0.1'] }, 'hooks.test')).toMatchObject(
      refused('addresses.deny: 127.0.0.1'),
    );
    expect(await to({ allow: ['127.0.0.1'], deny: ['*.test'] }, 'hooks.test.')).toMatchObject(
      refused('addresses.deny: \\*.test'),
    );
    expect(await to({ guard: 'off', deny: ['127.0.0.0/8'] }, 'a.test')).toMatchObject(refused('addresses.deny'));
  });

  test('a URL of the file may be internal, unless it is guarded or denied', async () => {
    const receiver = await receive();
    const send = (addresses: Partial<AddressPolicy>) => client(receiver.url, { addresses: policy(addresses) }).send();
    expect(await send({})).toMatchObject({ kind: 'delivered' });
    expect(await send({ guard: 'on' })).toMatchObject(refused('127.0.0.0/8'));
    expect(await send({ deny: ['127.0.0.1'] })).toMatchObject(refused('addresses.deny'));
  });

  test('a written host with a path from the event may be internal', async () => {
    const receiver = await receive();
    const url = `${receiver.url}/orders/\${{ new.id }}`;
    const { send } = client(url, { urlTemplate: compileUrl(url) });
    expect(await send()).toMatchObject({ kind: 'delivered' });
    expect(receiver.received.entries[0]?.path).toBe('/orders/42');
  });
});
