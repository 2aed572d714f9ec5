import { expect, onTestFinished, test } from 'vitest';
import type { ConfigInput } from '../../src/config/index.ts';
import { startSlackReceiver } from '../../src/receivers/slack-receiver.ts';
import { startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { emitMany, eventually, migrated, receiver, rules, run } from './fixture.ts';

type Destination = NonNullable<ConfigInput['destinations']>[string];
type Actions = NonNullable<ConfigInput['observers']>[string]['actions'];

/** What became of the first event, as the log tells: outcome or reason, and error class. */
async function firstAttempt(label: string, destination: Destination, action: Actions[number]) {
  const database = await migrated(label);
  const { attempts } = await run(
    rules(database.url, {
      destinations: { there: { retry: ['1h'], ...destination } },
      observers: { all: { source: 'orders', actions: [action] } },
    }),
  );
  await emitMany(database, 1, 1);
  const first = await eventually('an attempt', () => attempts()[0]);
  return { what: first.reason ?? first.outcome, errorClass: first.errorClass };
}

test.each([
  [404, {}, 'rejected'],
  [404, { retry: [404] }, 'retry'],
  [404, { retry: ['400-404'] }, 'retry'],
  [404, { success: ['4xx'] }, 'delivered'],
  [429, { success: ['4xx'] }, 'retry'],
  [503, { reject: ['5xx'] }, 'rejected'],
  [202, {}, 'delivered'],
  [202, { retry: [202] }, 'retry'],
  [308, {}, 'retry'],
  [308, { reject: ['3xx'] }, 'rejected'],
])('a webhook that answers %i, with %j: %s', async (status, outcomes, what) => {
  const { url, received } = await receiver({ respond: () => ({ status, headers: { location: '/elsewhere' } }) });
  const result = await firstAttempt('verdict_http', { webhook: { url }, outcomes }, { webhook: 'there' });
  expect(result.what).toBe(what);
  expect(result.errorClass).toBe(what === 'delivered' ? null : `http_${status}`);
  expect(received.total).toBe(1);
});

test('an action has its own', async () => {
  const { url } = await receiver({ respond: () => ({ status: 404 }) });
  const outcomes = { retry: [404] };
  const result = await firstAttempt('verdict_action', { webhook: { url } }, { webhook: 'there', outcomes });
  expect(result.what).toBe('retry');
});

test.each([
  [{}, 'retry', 'connection_refused'],
  [{ reject: ['connection_refused'] }, 'rejected', 'connection_refused'],
  [{ reject: ['network'], retry: ['dns'] }, 'rejected', 'connection_refused'],
])('nobody there, with %j: %s', async (outcomes, what, errorClass) => {
  const gone = await receiver();
  await gone.close();
  const result = await firstAttempt('verdict_net', { webhook: { url: gone.url }, outcomes }, { webhook: 'there' });
  expect(result).toMatchObject({ what, errorClass });
});

const letter = { email: 'there', to: 'ann@example.com', subject: 'Hello', text: 'Hello' };

test.each([
  [552, 'full', {}, 'rejected'],
  [552, 'full', { retry: [552] }, 'retry'],
  [552, 'full', { retry: ['smtp_5xx'] }, 'retry'],
  [451, '4.1.8 who are you', { reject: ['4.1.x'] }, 'rejected'],
  [550, '5.7.1 not from you', { retry: ['5xx'], reject: ['5.7.1'] }, 'rejected'],
])('a mail server that answers %i %s, with %j: %s', async (code, message, outcomes, what) => {
  const server = await startSmtpReceiver({
    respond: ({ stage }) => (stage === 'message' ? { code, message } : undefined),
  });
  onTestFinished(() => server.close());
  const email = { smtp: server.url, from: 'orders@shop.example' };
  expect(await firstAttempt('verdict_smtp', { email, outcomes }, letter)).toMatchObject({
    what,
    errorClass: `smtp_${code}`,
  });
});

test.each([
  ['channel_not_found', {}, 'rejected'],
  ['channel_not_found', { retry: ['slack_channel_not_found'] }, 'retry'],
  ['ratelimited', {}, 'retry'],
  ['ratelimited', { reject: ['slack_ratelimited'] }, 'rejected'],
])('Slack says %s, with %j: %s', async (error, outcomes, what) => {
  const server = await startSlackReceiver({ respond: () => ({ error }) });
  onTestFinished(() => server.close());
  const slack = { token: 'xoxb-1', api_url: server.apiUrl };
  const action = { slack: 'there', channel: '#sales', text: 'Hello' };
  expect(await firstAttempt('verdict_slack', { slack, outcomes }, action)).toMatchObject({
    what,
    errorClass: `slack_${error}`,
  });
});

test('Slack says that the token is revoked: disabled, when the file says so', async () => {
  const server = await startSlackReceiver({ respond: () => ({ error: 'token_revoked' }) });
  onTestFinished(() => server.close());
  const slack = { token: 'xoxb-1', api_url: server.apiUrl };
  const action = { slack: 'there', channel: '#sales', text: 'Hello' };
  const database = await migrated('verdict_revoked');
  const { heard } = await run(
    rules(database.url, {
      destinations: { there: { slack, outcomes: { disable: ['slack_token_revoked'] } } },
      observers: { all: { source: 'orders', actions: [action] } },
    }),
  );
  await emitMany(database, 1, 1);
  expect(await heard('destination.disabled')).toMatchObject({ reason: expect.stringContaining('token_revoked') });
});
