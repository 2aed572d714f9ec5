import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { generateKey } from '../../src/actions/webhook/keys.ts';
import { createSigner } from '../../src/actions/webhook/signature.ts';
import { snippetsOf, wordOf } from './snippets.ts';

const run = promisify(execFile);
const snippets = snippetsOf('docs/webhooks.md');
const body = '{"name":"Zoë","total":1.10}';

/** What a receiver must take and what it must not, with the verdict that is right. */
function cases(secret: string, signers: readonly string[]) {
  const now = Math.floor(Date.now() / 1000);
  const headers = (timestamp: number, secrets: readonly string[]) => ({
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(timestamp),
    'webhook-signature': createSigner(secrets)?.sign('msg_1', timestamp, Buffer.from(body)),
  });
  return [
    { headers: headers(now, [secret]), body, genuine: true },
    { headers: headers(now, [...signers, secret]), body, genuine: true },
    { headers: headers(now, signers), body, genuine: false },
    { headers: headers(now, [secret]), body: `${body} `, genuine: false },
    { headers: headers(now - 3600, [secret]), body, genuine: false },
    { headers: { ...headers(now, [secret]), 'webhook-timestamp': 'NaN' }, body, genuine: false },
  ];
}

describe('the snippets of docs/webhooks.md', () => {
  it('Python', async () => {
    const source = snippets.find(({ language }) => language === 'python')?.text ?? '';
    const { secret } = generateKey('v1');
    const given = cases(secret, [generateKey('v1a').secret, generateKey('v1').secret]);
    const program = `${source}
import json, sys
print(json.dumps([is_genuine(c["headers"], c["body"].encode(), sys.argv[2]) for c in json.loads(sys.argv[1])]))`;
    const { stdout } = await run('python3', ['-c', program, JSON.stringify(given), secret]);
    expect(JSON.parse(stdout)).toEqual(given.map(({ genuine }) => genuine));
  });

  it('Node, with a public key', async () => {
    const source = snippets.find((snippet) => wordOf(snippet, 'file') === 'verify-v1a.mjs')?.text ?? '';
    const { isGenuine } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
    const key = generateKey('v1a');
    const given = cases(key.secret, [generateKey('v1').secret, generateKey('v1a').secret]);
    const verdicts = given.map(({ headers, body: text }) => isGenuine(headers, Buffer.from(text), key.publicKey));
    expect(verdicts).toEqual(given.map(({ genuine }) => genuine));
  });
});
