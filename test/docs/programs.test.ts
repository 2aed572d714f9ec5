import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Deadline } from '../../src/actions/deadline.ts';
import { openDestination } from '../../src/actions/registry.ts';
import { parseConfig } from '../../src/config/index.ts';
import { startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import { judged, services } from '../actions/fixtures.ts';
import { scope } from '../expression/record.ts';
import { createDatabase } from '../support/database.ts';
import { startProcess } from '../support/processes.ts';
import { completed, tables, variables } from './shop.ts';
import { isRun, pages, place, type Snippet, snippetsOf, wordOf } from './snippets.ts';

const root = new URL('../../', import.meta.url).pathname;
const programs = pages.flatMap(snippetsOf).filter((snippet) => snippet.language === 'js' && isRun(snippet));

describe('a program', () => {
  const whole = programs.filter((snippet) => wordOf(snippet, 'file') === null);
  it.each(whole.map((snippet) => [place(snippet), snippet] as const))('%s runs to its end', async (_, snippet) => {
    const database = await createDatabase('docs_js');
    await database.query(tables);
    const receiver = await startWebhookReceiver();
    onTestFinished(() => receiver.close());
    const rules = join(tmpdir(), `${database.name}.yaml`);
    onTestFinished(() => rm(rules, { force: true }));
    await writeFile(rules, completed('observers:\n  all:\n    source: orders\n    actions: [{ webhook: billing }]\n'));
    // Evaluated in the repository, `pg-observers` is the package itself, as built.
    const child = startProcess(
      process.execPath,
      ['--input-type=module', '--eval', snippet.text.replaceAll("'observers.yaml'", JSON.stringify(rules))],
      { cwd: root, env: { ...variables, DATABASE_URL: database.url, BILLING_URL: receiver.url } },
    );
    expect(await child.exited).toMatchObject({ status: 0, stderr: '' });
  });
});

describe('the receiver of docs/deliveries.md', () => {
  const receiver = programs.find((snippet) => wordOf(snippet, 'file') === 'receiver.mjs');

  it('takes what is signed, once, and refuses what is not', async () => {
    const { url, seen } = await start(receiver);
    const send = (secret: string, id: string) => deliver(url, secret, id);
    expect(await send(variables.BILLING_WEBHOOK_SECRET ?? '', 'msg_one')).toMatchObject({
      errorClass: null,
      status: 204,
    });
    expect(await send(variables.BILLING_WEBHOOK_SECRET ?? '', 'msg_one')).toMatchObject({ errorClass: null });
    expect(await send(variables.BILLING_WEBHOOK_SECRET_NEW ?? '', 'msg_two')).toMatchObject({
      errorClass: 'http_401',
      status: 401,
    });
    const old = { 'webhook-id': 'x', 'webhook-timestamp': '1', 'webhook-signature': 'v1,AA==' };
    expect((await fetch(url, { method: 'POST', body: '{}', headers: old })).status).toBe(401);
    expect((await fetch(url, { method: 'POST', body: '{}' })).status).toBe(401);
    expect(seen()).toBe(1);
  });
});

async function start(snippet: Snippet | undefined) {
  if (snippet === undefined) throw new Error('docs/deliveries.md has no `js file=receiver.mjs`');
  const child = startProcess(process.execPath, ['--input-type=module', '--eval', snippet.text], {
    env: { ...variables, PORT: '0' },
  });
  const [, url = ''] = await child.waitForLine(/(http:\S+)/);
  return { url, seen: () => child.stdout().match(/^orders\.update/gm)?.length ?? 0 };
}

async function deliver(url: string, secret: string, messageId: string) {
  const rules = `destinations: { billing: { webhook: { url: '${url}', secret: ${secret} } } }
observers: { all: { source: orders, actions: [{ webhook: billing }] } }`;
  const config = parseConfig(completed(rules), { file: 'observers.yaml', env: variables });
  const action = config.observers.get('all')?.actions[0];
  if (action === undefined) throw new Error('no action');
  const client = openDestination(action.destination, services);
  const request = client.render(action, scope({ new: '{"id": 42}' }), messageId);
  const deadline = new Deadline(10_000);
  const outcome = await judged('webhook', client.send(request, { deadline, timeoutMs: 10_000, number: 1 }));
  await client.close();
  return outcome;
}
