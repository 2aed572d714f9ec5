import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { request as secureRequest } from 'node:https';
import { join } from 'node:path';
import { createTransport } from 'nodemailer';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createSigner } from '../../src/actions/webhook/signature.ts';
import { runProgram, startProgram } from '../support/processes.ts';
import { scratchFolder } from './support.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

async function start(args: readonly string[], env: Record<string, string> = {}) {
  const child = startProgram(['receiver', ...args], { env });
  const [, url = ''] = await child.waitForLine(/(https?:\/\/[\d.]+:\d+)/);
  return { child, url };
}

const post = (url: string, headers: Record<string, string> = {}, body = '{"n":9007199254740993.10}') =>
  fetch(url, { method: 'POST', headers, body, redirect: 'manual' });

function signed(id: string, body: string): Record<string, string> {
  const timestamp = Math.floor(Date.now() / 1000);
  const signature = createSigner([secret])?.sign(id, timestamp, Buffer.from(body)) ?? '';
  return { 'webhook-id': id, 'webhook-timestamp': String(timestamp), 'webhook-signature': signature };
}

test('shows requests with their signature, attempt and digits, hides what lets in, and ends after --count', async () => {
  const { child, url } = await start(['--secret-env', 'KEY', '--count', '3'], { KEY: secret });
  const body = '{"n":9007199254740993.10}';
  await post(`${url}/hook?a=1`, { ...signed('msg_1', body), authorization: 'Bearer open-sesame' }, body);
  await post(`${url}/hook?a=1`, { ...signed('msg_1', body), 'x-api-key': 'open-sesame' }, `${body} `);
  await post(url, {}, 'plain \u001b[31m text');
  const { status, stdout, stderr } = await child.exited;
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^#1 POST \/hook\?a=1 {2}attempt 1 of msg_1 {2}→ 204$/m);
  expect(stdout).toMatch(/^#2 POST \/hook\?a=1 {2}attempt 2 of msg_1 {2}→ 204$/m);
  expect(stdout).toMatch(/^ {2}signature valid: key [0-9a-f]{8}, \d+ s old$/m);
  expect(stdout).toContain('signature not valid: no signature fits: another key, or the body');
  expect(stdout).toContain('signature not valid: the header webhook-id is missing');
  expect(stdout).toContain('"n": 9007199254740993.10');
  expect(stdout).toContain('authorization: Bearer [hidden]');
  expect(stdout).not.toMatch(/open-sesame|MfKQ9r8G/);
  expect(stdout).not.toContain('\u001b');
});

test('--json: a line each; statuses in turn for each message; a path says otherwise', async () => {
  const { child, url } = await start(['--status', '503,200', '--retry-after', '30', '--json', '--count', '6']);
  const statuses: number[] = [];
  for (const id of ['a', 'a', 'b', 'a'])
    statuses.push((await post(url, { 'webhook-id': id, 'x-token': 'open-sesame' })).status);
  expect(statuses).toEqual([503, 200, 503, 200]);
  const redirected = await post(`${url}/redirect/${encodeURIComponent('http://10.0.0.1/x')}/redirect-status/302`);
  expect([redirected.status, redirected.headers.get('location')]).toEqual([302, 'http://10.0.0.1/x']);
  expect((await post(`${url}/body/hello%20there/unknown/status/500`)).headers.get('retry-after')).toBe('30');
  const { status, stdout } = await child.exited;
  expect(status).toBe(0);
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines[0]).toEqual({ listening: url });
  expect(lines[2]).toMatchObject({ number: 2, message_id: 'a', attempt: 2, answer: '200', signature: null });
  expect(lines[2].headers['x-token']).toBe('[hidden]');
  expect(stdout).not.toContain('open-sesame');
});

test('--count does not wait for an answer that never ends', async () => {
  const { child, url } = await start(['--hang-before-headers', '--count', '1']);
  await expect(post(url)).rejects.toThrow();
  expect((await child.exited).status).toBe(0);
});

test('the dice fall the same way for the same seed', async () => {
  const faces: number[][] = [];
  for (let turn = 0; turn < 2; turn++) {
    const { child, url } = await start(['--fail-rate', '0.5', '--seed', '7', '--count', '20']);
    const statuses: number[] = [];
    for (let n = 0; n < 20; n++) statuses.push((await post(url)).status);
    faces.push(statuses);
    expect((await child.exited).status).toBe(0);
  }
  expect(faces[0]).toEqual(faces[1]);
  expect(new Set(faces[0])).toEqual(new Set([204, 503]));
});

test('--tls with the authority that signed it; a handshake that fails is shown', async () => {
  const ca = join(await scratchFolder(), 'ca.pem');
  const { child, url } = await start(['--tls', 'good', '--write-ca', ca]);
  const get = async (options: object) =>
    new Promise<number | string>((resolve) => {
      const sent = secureRequest(url, options, (response) => resolve(response.resume().statusCode ?? 0));
      sent.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? '')).end();
    });
  expect(await get({ ca: await readFile(ca) })).toBe(204);
  expect(await get({})).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  await child.waitForLine(/^A TLS handshake failed: /);
  expect(await child.kill()).toMatchObject({ status: 0, stderr: '' });
});

test('mail and Slack are shown, and refused when asked to', async () => {
  const { child } = await start(['--smtp-reply', '451', '--slack']);
  const [, smtp = ''] = await child.waitForLine(/^mail at (smtp:\S+)$/);
  const [, api = ''] = await child.waitForLine(/^slack at ([^,]+),/);
  const sent = createTransport(smtp).sendMail({ from: 'a@x.example', to: 'b@x.example', subject: 'Hello', text: 'Hi' });
  await expect(sent).rejects.toMatchObject({ responseCode: 451 });
  await child.waitForLine(/^mail #1 to b@x\.example {2}→ 451$/);
  await child.waitForLine(/^ {2}subject: Hello$/);
  const body = new URLSearchParams({ channel: '#sales', text: 'Hello' });
  const answer = await fetch(`${api}chat.postMessage`, {
    method: 'POST',
    body,
    headers: { authorization: 'Bearer t' },
  });
  expect(await answer.json()).toMatchObject({ ok: true });
  await child.waitForLine(/^slack #1 chat\.postMessage #sales {2}→ ok$/);
  expect(await child.kill()).toMatchObject({ status: 0, stderr: '' });
});

describe('what is wrong with the command is said, with status 2', () => {
  test.each([
    [['--status', '99'], "option '--status <list>' argument '99' is invalid"],
    [['--delay', 'soon'], "argument 'soon' is invalid"],
    [['--tls', 'rusty'], 'Allowed choices are good, self-signed, expired, wrong-host, client-certificate'],
    [['--write-ca', 'x'], 'there is no authority without --tls'],
    [['--secret-env', 'NOT_SET_HERE'], 'the environment variable NOT_SET_HERE is not set'],
    [['--smtp-reply', '250'], 'Write a code from 400 to 599'],
    [['--port', '70000'], 'Write a number from 0 to 65535'],
    [['--body', '@/nowhere/at/all'], "can't read /nowhere/at/all (ENOENT)"],
  ])('%j', async (args, message) => {
    const { status, stderr } = await runProgram(['receiver', ...args]);
    expect([status, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  test('a key that is none is not quoted', async () => {
    const file = join(await scratchFolder(), 'key');
    await writeFile(file, 'open-sesame\n');
    const { status, stderr } = await runProgram(['receiver', '--secret-file', file]);
    expect([status, stderr]).toEqual([2, expect.stringContaining('a key begins with whsec_ or whpk_')]);
    expect(stderr).not.toContain('open-sesame');
  });

  test('a port that is taken', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? String(address.port) : '';
    const { status, stderr } = await runProgram(['receiver', '--port', port]);
    expect([status, stderr]).toEqual([1, expect.stringContaining('(EADDRINUSE): choose another --port')]);
  });
});
