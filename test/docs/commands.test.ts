import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { program, runProgram, startProcess, type TestProcess } from '../support/processes.ts';
import { completed, tables, variables } from './shop.ts';
import { isRun, pages, place, type Snippet, snippetsOf, wordOf } from './snippets.ts';

/*
 * Every page is one session: its commands and SQL run from top to bottom, in an empty directory, on a database with the
 * tables of the shop. A page that does not begin with `apply` finds it done, and four dead letters, the last of another observer.
 */

const sessions = pages.filter((page) => snippetsOf(page).some(isCommand));

function isCommand(snippet: Snippet): boolean {
  return (snippet.language === 'sh' || snippet.language === 'sql') && isRun(snippet);
}

describe('the commands of', () => {
  it.each(sessions)(
    '%s run',
    async (page) => {
      const session = await startSession(page);
      const snippets = snippetsOf(page);
      if (!snippets.some(({ text }) => /^pg-observers apply/m.test(text))) await prepare(session);
      for (const [i, snippet] of snippets.entries()) {
        const file = wordOf(snippet, 'file');
        if (file !== null) await writeFile(join(session.directory, file), fileText(snippet));
        if (!isCommand(snippet)) continue;
        const stdout = await runSnippet(session, snippet);
        const next = snippets[i + 1];
        if (next?.words.includes('output')) expect(`${place(next)}\n${stdout}`).toBe(`${place(next)}\n${next.text}`);
      }
      for (const child of session.background) {
        const end = await child.kill('SIGTERM');
        expect([end.status, end.stderr]).toEqual([0, '']);
      }
    },
    60_000,
  );
});

interface Session {
  readonly page: string;
  readonly directory: string;
  readonly database: TestDatabase;
  readonly env: Record<string, string>;
  readonly background: TestProcess[];
}

async function startSession(page: string): Promise<Session> {
  const database = await createDatabase('docs');
  await database.query(tables);
  const directory = await mkdtemp(join(tmpdir(), 'docs-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  // It refuses everything for good, so that a page that delivers has a dead letter to show.
  const receiver = await startWebhookReceiver({ respond: () => ({ status: 422, body: 'unknown order' }) });
  onTestFinished(() => receiver.close());
  const bin = join(directory, 'bin');
  await mkdir(bin);
  await writeFile(join(bin, 'pg-observers'), `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`);
  await chmod(join(bin, 'pg-observers'), 0o755);
  // A page that begins with `init` makes its own.
  if (!snippetsOf(page).some(({ text }) => /^pg-observers init/m.test(text)))
    await writeFile(join(directory, 'observers.yaml'), completed(defaultRules));
  const env = {
    ...variables,
    DATABASE_URL: database.url,
    BILLING_URL: receiver.url,
    OPS_URL: receiver.url,
    PG_OBSERVERS_LISTEN: `127.0.0.1:${await freePort()}`,
    RECEIVER_PORT: String(await freePort()),
    PATH: `${bin}${delimiter}${process.env.PATH}`,
  };
  return { page, directory, database, env, background: [] };
}

const defaultRules = `observers:
  big-order-paid:
    source: orders
    actions: [{ webhook: billing }]
`;

/** A whole file as it is; a fragment with what it does not show. */
function fileText(snippet: Snippet): string {
  const isFragment = snippet.language === 'yaml' && !/^version:/m.test(snippet.text);
  return isFragment ? completed(snippet.text) : snippet.text;
}

async function prepare({ directory, env, database }: Session): Promise<void> {
  expect(await runProgram(['apply'], { cwd: directory, env })).toMatchObject({ status: 0 });
  await database.query(`insert into public.orders (total) select 7 from generate_series(1, 4)`);
  await database.query(
    `insert into observers.dead_letters
       (event_id, event_uid, event, observer, action, destination, reason, error_class, error_message, attempts, rule_version)
     select id, uid, observers.event_json(e), case when id = 4 then 'order-cancelled' else 'big-order-paid' end, 'webhook-1', 'billing', 'exhausted', 'http_503', 'down', 5, 'x'
     from observers.events e`,
  );
}

async function runSnippet(session: Session, snippet: Snippet): Promise<string> {
  const { directory, env, database } = session;
  if (/dlq (show|retry|discard) \d|replay\(\d/.test(snippet.text)) await deadLetter(database);
  if (snippet.language === 'sql') {
    await database.query(snippet.text).catch((error: Error) => {
      throw new Error(`${place(snippet)}  ${error.message}`, { cause: error });
    });
    return '';
  }
  const script = snippet.text
    .replaceAll('127.0.0.1:7420', env.PG_OBSERVERS_LISTEN ?? '')
    .replaceAll('8099', env.RECEIVER_PORT ?? '');
  const isBackground = snippet.words.includes('background');
  // `exec`, or a signal would end the shell and not the program. No start-up files: bash reads them, too, when its stdin is
  // a socket, as it would for a remote shell.
  const child = startProcess('bash', ['--norc', '-euo', 'pipefail', '-c', isBackground ? `exec ${script}` : script], {
    cwd: directory,
    env,
  });
  if (isBackground) {
    session.background.push(child);
    await child.waitForLine(/this instance routes|^listening at /);
    return '';
  }
  const end = await child.exited;
  if (end.status !== 0) {
    throw new Error(`${place(snippet)}  status ${end.status}\n${snippet.text}\n${end.stdout}${end.stderr}`);
  }
  return end.stdout;
}

/** What the page has just caused arrives as a dead letter a moment later. */
async function deadLetter(database: TestDatabase): Promise<void> {
  await expect
    .poll(async () => (await database.query('select from observers.dead_letters')).rowCount, { timeout: 20_000 })
    .toBeGreaterThan(0);
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
