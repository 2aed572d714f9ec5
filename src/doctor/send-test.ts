import { randomUUID } from 'node:crypto';
import type { DestinationClient } from '../actions/contract.ts';
import { Deadline } from '../actions/deadline.ts';
import { openDestination } from '../actions/registry.ts';
import { renderDelivery } from '../actions/rendering.ts';
import { messageId } from '../domain/delivery.ts';
import type { EventRecord } from '../domain/event.ts';
import type { Action, Destination, EmailDestination, SlackDestination, WebhookDestination } from '../domain/rules.ts';
import { compileTemplate } from '../expression/index.ts';
import { ok, problem, type Verdict, warning } from './finding.ts';

export interface TestOptions {
  /** Mail goes there; null: to the sender's own address. */
  readonly to: string | null;
  /** Slack channel; null: an incoming webhook has its own, a token has none. */
  readonly channel: string | null;
}

const observer = 'pg-observers-doctor';
const notice = 'This is a test by `pg-observers doctor --send-test`. Nothing has happened, and nothing is to be done.';

/**
 * One delivery by the same code as all others: signed, with the headers of the destination, under its deadline. It says in its body (and, a
 * webhook, in the header `x-pg-observers-test`) that it is a test. Nothing of it is stored, and it is tried once.
 */
export async function sendTest(destination: Destination, options: TestOptions): Promise<Verdict> {
  const action = testAction(destination, options);
  if (typeof action === 'string') return ok(action);
  let client: DestinationClient | null = null;
  const deadline = new Deadline(destination.timeoutMs);
  try {
    client = openDestination(destination, unneeded);
    const event = testEvent();
    const rendered = renderDelivery(client, action, event, observer);
    // A receiver of batches knows no other form.
    const request = client.combining?.combine([rendered]) ?? rendered;
    const outcome = await client.send(request, { deadline, timeoutMs: destination.timeoutMs, number: 1 });
    const status = outcome.status === null ? '' : ` (${outcome.status})`;
    const id = messageId(event.uid, observer, action.name);
    if (outcome.errorClass === null) return ok(`the test was taken${status}, id ${id}`);
    return problem(
      `the test was not taken: ${outcome.message}`,
      'correct the destination, or what listens there, and try again',
    );
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return warning(`no test was sent: ${reason}`, 'its requests depend on real events: change a row to try it');
  } finally {
    deadline.clear();
    await client?.close();
  }
}

/** Neither logs nor statements are tested. */
const unneeded = {
  log: () => {},
  openDatabase: () => {
    throw new Error('a test runs no statement');
  },
};

function testEvent(): EventRecord {
  return {
    id: '0',
    uid: randomUUID(),
    source: 'pg_observers_test',
    operation: 'emit',
    schema: null,
    table: null,
    key: null,
    tenant: null,
    old: null,
    new: null,
    payload: JSON.stringify({ test: true, message: notice }),
    context: null,
    at: new Date().toISOString().replace('Z', '000Z'),
  };
}

/** An action of its kind, or why there is none. */
function testAction(destination: Destination, options: TestOptions): Action | string {
  const { kind } = destination;
  if (kind === 'webhook') return webhookTest(destination);
  if (kind === 'email') return emailTest(destination, options);
  if (kind === 'slack') return slackTest(destination, options);
  return `no test is sent to a destination of kind ${kind}`;
}

const common = (destination: Destination) => ({
  name: 'test',
  position: destination.position,
  timeoutMs: destination.timeoutMs,
  retry: destination.retry,
  outcomes: destination.outcomes,
});

const plain = (value: string) => compileTemplate(value, 'plain');

function webhookTest(destination: WebhookDestination): Action | string {
  if (destination.urlTemplate !== null) return 'no test is sent: its URL is made of events';
  const { method, format, query } = destination;
  return {
    ...common(destination),
    kind: 'webhook',
    destination,
    method,
    format: format === 'form' || format === 'text' ? 'json' : format,
    query,
    body: null,
    form: [],
    headers: { 'x-pg-observers-test': compileTemplate('true', 'header') },
  };
}

function emailTest(destination: EmailDestination, { to }: TestOptions): Action {
  return {
    ...common(destination),
    kind: 'email',
    destination,
    to: compileTemplate(to ?? destination.from, 'address'),
    cc: null,
    bcc: null,
    replyTo: null,
    subject: compileTemplate('Test by pg-observers doctor', 'header'),
    text: plain(notice),
    html: null,
    attachments: [],
    headers: {},
    priority: 'normal',
    threadKey: null,
    unsubscribe: null,
    digest: null,
  };
}

function slackTest(destination: SlackDestination, { channel }: TestOptions): Action | string {
  if (destination.auth.kind === 'token' && channel === null) return 'no test is sent: name a channel with --channel';
  return {
    ...common(destination),
    kind: 'slack',
    destination,
    channel: destination.auth.kind === 'token' && channel !== null ? plain(channel) : null,
    text: compileTemplate(notice, 'mrkdwn'),
    blocks: null,
    attachments: null,
    username: null,
    iconEmoji: null,
    iconUrl: null,
    unfurlLinks: null,
    unfurlMedia: null,
    follows: null,
    replyBroadcast: false,
  };
}
