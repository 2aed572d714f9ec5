import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createSigner } from '../../src/actions/webhook/signature.ts';
import { type ProcessEnd, runProgram } from '../support/processes.ts';
import { rulesFile, scratchFolder } from './support.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const json = ({ stdout }: ProcessEnd) => JSON.parse(stdout);

describe('keys generate', () => {
  test('prints a key, and for v1a the half to hand out', async () => {
    expect((await runProgram(['keys', 'generate'])).stdout).toMatch(/^whsec_[A-Za-z0-9+/]{43}=\n$/);
    expect((await runProgram(['keys', 'generate', '--type', 'v1a'])).stdout).toMatch(
      /^secret {6}whsk_\S{88}\npublic key {2}whpk_\S{44}\n$/,
    );
    expect(json(await runProgram(['keys', 'generate', '--type', 'v1a', '--json']))).toMatchObject({
      type: 'v1a',
      secret: expect.stringMatching(/^whsk_/),
      public_key: expect.stringMatching(/^whpk_/),
      fingerprint: expect.stringMatching(/^[0-9a-f]{8}$/),
    });
    expect(await runProgram(['keys', 'generate', '--type', 'v2'])).toMatchObject({ status: 2 });
  });
});

describe('keys rotate', () => {
  const rules = `version: 1
database: \${NOT_SET_HERE}
destinations:
  billing: { webhook: { url: https://a.example, secret: "\${BILLING_WEBHOOK_SECRET}" } }
  filed: { webhook: { url: https://a.example, secret: ["\${file:key-2}", "\${OLD}"] } }
  plain: { webhook: { url: https://a.example } }
  literal: { webhook: { url: https://a.example, secret: ${secret} } }
  mail: { email: { smtp: smtp://localhost, from: a@example.com } }
`;

  test('says what to put where, in which order, changes nothing and tells no present key', async () => {
    const file = await rulesFile(rules);
    const env = { BILLING_WEBHOOK_SECRET: secret };
    const rotated = await runProgram(['keys', 'rotate', 'billing', '-c', file], { env });
    expect(rotated).toMatchObject({ status: 0, stderr: '' });
    const { stdout } = rotated;
    expect(stdout).toMatch(
      /^Destination billing signs with 1 key:\n {2}v1 [0-9a-f]{8} {3}\$\{BILLING_WEBHOOK_SECRET\}\n/,
    );
    const order = [
      'the environment variable BILLING_WEBHOOK_SECRET_2',
      'secret: ["${BILLING_WEBHOOK_SECRET_2}", "${BILLING_WEBHOOK_SECRET}"]',
      'Give the receiver the new key',
      'secret: ${BILLING_WEBHOOK_SECRET_2}\n',
    ].map((text) => stdout.indexOf(text));
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(order[0]).toBeGreaterThan(0);
    expect(stdout).toContain(`${file}, line 4`);
    expect(stdout).not.toContain(secret.slice(6));
    expect(await readFile(file, 'utf8')).toBe(rules);
  });

  test('knows files, lists, unsigned destinations and keys that are not at hand', async () => {
    const file = await rulesFile(rules);
    await writeFile(
      join(file, '..', 'key-2'),
      `${json(await runProgram(['keys', 'generate', '--type', 'v1a', '--json'])).secret}\n`,
    );
    const filed = json(await runProgram(['keys', 'rotate', 'filed', '-c', file, '--json']));
    expect(filed).toMatchObject({
      destination: 'filed',
      keys: [
        { type: 'v1a', fingerprint: expect.stringMatching(/^[0-9a-f]{8}$/), written: '${file:key-2}' },
        { type: null, fingerprint: null, written: '${OLD}' },
      ],
      // As the newest one.
      new_key: { type: 'v1a', public_key: expect.stringMatching(/^whpk_/) },
    });
    expect(filed.steps[1].lines).toEqual(['secret: ["${file:key-3}", "${file:key-2}", "${OLD}"]']);
    expect(filed.steps[1].title).toContain('reload');
    expect((await runProgram(['keys', 'rotate', 'plain', '-c', file])).stdout).toContain('does not sign yet');
    const literal = await runProgram(['keys', 'rotate', 'literal', '-c', file]);
    expect(literal.stdout).toContain('written into the file');
    expect(literal.stdout).not.toContain(secret.slice(6));
  });

  test.each([
    ['biling', 'did you mean billing?'],
    ['mail', 'is no webhook'],
  ])('%s: %s', async (name, message) => {
    const file = await rulesFile(rules);
    expect(await runProgram(['keys', 'rotate', name, '-c', file])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(message),
    });
  });
});

describe('webhook verify', () => {
  const now = Math.floor(Date.now() / 1000);
  const body = '{"name":"Zoë","n":1.0}\n';
  const head = (timestamp: number, by = secret) => {
    const signature = createSigner([by])?.sign('msg_1', timestamp, Buffer.from(body));
    return `Host: a.example\nWebhook-Id: msg_1\nwebhook-timestamp: ${timestamp}\nwebhook-signature: ${signature}\n`;
  };
  const env = { KEY: secret };
  const files = async (headers: string) => {
    const folder = await scratchFolder();
    const paths = { headers: join(folder, 'headers'), body: join(folder, 'body') };
    await writeFile(paths.headers, headers);
    await writeFile(paths.body, body);
    return ['webhook', 'verify', '--headers', paths.headers, '--body', paths.body];
  };

  test('0 for a signature that fits, by a key of the environment, a file or stdin', async () => {
    const args = await files(head(now));
    const valid = {
      status: 0,
      stdout: expect.stringMatching(/^valid: signed by key [0-9a-f]{8}, \d+ s ago\n$/),
      stderr: '',
    };
    expect(await runProgram([...args, '--secret', 'env:KEY'], { env })).toMatchObject(valid);
    const keyFile = join(await scratchFolder(), 'key');
    await writeFile(keyFile, `${secret}\n`);
    expect(await runProgram([...args, '--secret', `file:${keyFile}`])).toMatchObject(valid);
    expect(await runProgram([...args, '--secret', '-'], { input: `${secret}\n` })).toMatchObject(valid);
    const request = `POST /in HTTP/1.1\r\n${head(now).trim().replaceAll('\n', '\r\n')}\r\n\r\n${body}`;
    const whole = ['webhook', 'verify', '--headers', '-', '--secret', 'env:KEY'];
    expect(await runProgram(whole, { env, input: request })).toMatchObject(valid);
  });

  test('by a public key, which need not be hidden', async () => {
    const key = json(await runProgram(['keys', 'generate', '--type', 'v1a', '--json']));
    const args = await files(head(now, key.secret));
    expect(json(await runProgram([...args, '--public-key', key.public_key, '--json']))).toMatchObject({
      valid: true,
      key: key.fingerprint,
    });
  });

  test('1 for one that does not fit, with the reason', async () => {
    const other = { KEY: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD' };
    const fresh = [...(await files(head(now))), '--secret', 'env:KEY'];
    expect(await runProgram(fresh, { env: other })).toMatchObject({
      status: 1,
      stdout: 'not valid: no signature fits: another key, or the body is not byte for byte what was sent\n',
    });
    const old = [...(await files(head(now - 3600))), '--secret', 'env:KEY'];
    const refused = await runProgram([...old, '--json'], { env });
    expect([refused.status, json(refused)]).toMatchObject([1, { valid: false, reason: 'too_old' }]);
    expect(await runProgram([...old, '--tolerance', '2h'], { env })).toMatchObject({ status: 0 });
  });

  test.each([
    ['a key on the command line', ['--secret', secret], '--secret takes no key'],
    ['no key', [], 'no key: write --secret env:NAME'],
    ['a variable that is not set', ['--secret', 'env:NOPE'], 'NOPE is not set'],
    ['a file that is not there', ['--secret', 'file:/nope'], 'ENOENT'],
    ['a private key', ['--public-key', 'whsk_AAAA'], 'private key'],
    ['stdin twice', ['--secret', '-', '--headers', '-'], 'stdin is taken by'],
  ])('2 for %s', async (_, more, message) => {
    const ended = await runProgram([...(await files(head(now))), ...more], { input: secret });
    expect(ended).toMatchObject({ status: 2, stdout: '', stderr: expect.stringContaining(message) });
    expect(ended.stderr).not.toContain(secret.slice(6));
  });
});
