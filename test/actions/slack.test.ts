import { afterEach, describe, expect, test } from 'vitest';
import { slack } from '../../src/actions/slack/slack.ts';
import type { SlackAction, SlackDestination } from '../../src/domain/rules.ts';
import { type SlackReply, startSlackReceiver } from '../../src/receivers/slack-receiver.ts';
import { attempt, judged, scopeOf, slackAction, slackDestination, someMessageId, template } from './fixtures.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(reply: SlackReply = { ok: true }, via: 'token' | 'incoming' = 'token') {
  const receiver = await startSlackReceiver({ respond: () => reply });
  closing.push(receiver.close);
  const auth: SlackDestination['auth'] =
    via === 'token'
      ? { kind: 'token', token: 'xoxb-test', apiUrl: receiver.apiUrl }
      : { kind: 'incoming', webhookUrl: receiver.incomingUrl };
  const client = slack.open(slackDestination(auth));
  closing.push(() => client.close());
  const send = (action: Partial<SlackAction> = {}, timeoutMs?: number) =>
    judged('slack', client.send(client.render(slackAction(action), scopeOf(), someMessageId), attempt(timeoutMs)));
  return { receiver, client, send };
}

const blocks = template([{ type: 'section', text: { type: 'mrkdwn', text: 'Total ${{ new.status }}' } }], 'mrkdwn');

describe('the message', () => {
  test('with a token: channel, text, blocks and the stable id as metadata', async () => {
    const { receiver, send } = await start();
    expect(await send({ blocks })).toMatchObject({ kind: 'delivered', status: 200 });
    expect(receiver.received.entries[0]).toMatchObject({
      via: 'api',
      token: 'xoxb-test',
      channel: '#sales',
      text: 'Order *42* paid',
      blocks: [{ type: 'section', text: { type: 'mrkdwn', text: 'Total paid' } }],
      metadata: { event_payload: { message_id: someMessageId, event_id: scopeOf().record.uid } },
    });
  });

  test('to an incoming webhook: text and blocks', async () => {
    const { receiver, send } = await start({ ok: true }, 'incoming');
    expect(await send({ channel: null, blocks })).toMatchObject({
      kind: 'delivered',
      status: 200,
      responseExcerpt: 'ok',
    });
    expect(receiver.received.entries[0]).toMatchObject({
      via: 'incoming',
      text: 'Order *42* paid',
      blocks: [{ type: 'section', text: { type: 'mrkdwn', text: 'Total paid' } }],
    });
  });

  test.each([
    [{ channel: template('') }, /^channel:/],
    [{ text: template('') }, /^text:/],
    [{ text: null }, /^text:/],
    [{ blocks: template({ type: 'section' }) }, /^blocks:/],
    [{ attachments: template('${{ new }}') }, /^attachments: not a list/],
  ])('%# can not be rendered', async (action, message) => {
    const { client } = await start();
    expect(() => client.render(slackAction(action), scopeOf(), someMessageId)).toThrowError(message);
  });

  test('an answer as long as Slack’s for a long message is still understood', async () => {
    const answer = { ok: true, ts: '1.2', message: { text: 'é'.repeat(40_000) } };
    const { send } = await start({ http: { body: JSON.stringify(answer) } });
    expect(await send()).toMatchObject({ kind: 'delivered' });
  });
});

describe('following an earlier message', () => {
  const follow = (as: 'reply' | 'edit', key: unknown = 'order ${{ new.id }}') => ({
    follows: { as, key: template(key) },
  });
  const first = { channel: 'C00000001', ts: '1700000000.000001' };

  test('the first one says where it is, by the id of its channel', async () => {
    const { receiver, send } = await start();
    const outcome = await send(follow('reply'));
    const [message] = receiver.messages.all;
    expect(outcome).toMatchObject({ kind: 'delivered', note: { channel: message?.channel, ts: message?.ts } });
    expect(message?.channel).toMatch(/^C\d+$/);
  });

  test('a reply and an edit go to the noted one, and leave the note as it is', async () => {
    const { receiver, client } = await start();
    const { note } = await client.send(
      client.render(slackAction(follow('reply')), scopeOf(), someMessageId),
      attempt(),
    );
    for (const as of ['reply', 'edit'] as const) {
      const request = client.render(slackAction({ ...follow(as), blocks }), scopeOf(), someMessageId);
      expect(client.noteOf?.(request)).toEqual({ of: 'destination', key: 'slack #sales order 42' });
      const outcome = await client.send(request, { ...attempt(), note });
      expect(outcome.errorClass).toBeNull();
      expect(outcome).not.toHaveProperty('note');
    }
    const [one, two] = receiver.messages.all;
    expect(two).toMatchObject({ threadTs: one?.ts });
    expect(one).toMatchObject({
      edits: 1,
      blocks: [{ type: 'section', text: { type: 'mrkdwn', text: 'Total paid' } }],
    });
  });

  test.each(['reply', 'edit'] as const)('a %s whose first message is gone: void note, another try', async (as) => {
    const { client } = await start();
    const request = client.render(slackAction(follow(as)), scopeOf(), someMessageId);
    const outcome = await judged('slack', client.send(request, { ...attempt(), note: first }));
    expect(outcome).toMatchObject({ kind: 'retry', note: null, errorClass: expect.stringMatching(/_not_found$/) });
  });

  test('other refusals of a reply leave the note', async () => {
    const { client } = await start({ error: 'not_in_channel' });
    const request = client.render(slackAction(follow('reply')), scopeOf(), someMessageId);
    const outcome = await client.send(request, { ...attempt(), note: first });
    expect(outcome.errorClass).toBe('slack_not_in_channel');
    expect(outcome).not.toHaveProperty('note');
  });

  test('an empty key is no key, a long one is shortened, a broken note is none', async () => {
    const { client, receiver } = await start();
    const render = (key: unknown) => client.render(slackAction(follow('reply', key)), scopeOf(), someMessageId);
    expect(client.noteOf?.(render('${{ payload }}'))).toBeNull();
    const long = client.noteOf?.(render('k'.repeat(5_000)));
    expect(long?.key.length).toBeLessThan(100);
    expect(client.noteOf?.(render('k'.repeat(5_001)))).not.toEqual(long);
    expect(await client.send(render('k'), { ...attempt(), note: { ts: 7 } })).toMatchObject({ errorClass: null });
    expect(receiver.messages.all[0]?.threadTs).toBeNull();
  });
});

describe('options', () => {
  test('go along under Slack’s names', async () => {
    const { receiver, send } = await start();
    await send({
      text: null,
      attachments: template([{ color: '#f00', text: '${{ new.status }}' }], 'blocks'),
      username: template('Shop ${{ new.id }}'),
      iconEmoji: template(':package:'),
      iconUrl: template(''),
      unfurlLinks: false,
      unfurlMedia: true,
    });
    const { fields } = receiver.received.entries[0] ?? {};
    expect(fields).toMatchObject({
      attachments: '[{"color":"#f00","text":"paid"}]',
      username: 'Shop 42',
      icon_emoji: ':package:',
      unfurl_links: 'false',
      unfurl_media: 'true',
    });
    expect(fields).not.toHaveProperty('icon_url');
  });

  test('an incoming webhook takes attachments and previews as JSON', async () => {
    const { receiver, send } = await start({ ok: true }, 'incoming');
    await send({ channel: null, attachments: template([{ text: 'a' }], 'blocks'), unfurlLinks: false });
    expect(receiver.received.entries[0]?.fields).toEqual({
      text: 'Order *42* paid',
      attachments: [{ text: 'a' }],
      unfurl_links: false,
    });
  });
});

describe('error codes', () => {
  test.each([
    'internal_error',
    'fatal_error',
    'service_unavailable',
    'request_timeout',
    'team_added_to_org',
    'ratelimited',
  ])('%s is retried', async (error) => {
    expect(await (await start({ error })).send()).toMatchObject({
      kind: 'retry',
      errorClass: `slack_${error}`,
      status: 200,
    });
  });

  test.each(['channel_not_found', 'invalid_auth', 'not_in_channel', 'msg_too_long', 'a_code_of_tomorrow'])(
    '%s is rejected',
    async (error) => {
      expect(await (await start({ error })).send()).toMatchObject({
        kind: 'rejected',
        errorClass: `slack_${error}`,
        status: 200,
      });
    },
  );

  test.each([
    [403, 'action_prohibited', 'rejected'],
    [404, 'channel_not_found', 'rejected'],
    [410, 'channel_is_archived', 'disable'],
    [500, 'rollup_error', 'retry'],
  ])('an incoming webhook’s %i %s is %s', async (status, error, kind) => {
    const { send } = await start({ error, status }, 'incoming');
    expect(await send({ channel: null })).toMatchObject({ kind, status, errorClass: `slack_${error}` });
  });

  test.each(['token', 'incoming'] as const)('429 with %s is retried no earlier than Slack asks', async (via) => {
    const { receiver, send } = await start({ rateLimited: { retryAfterSeconds: 30 } }, via);
    expect(await send()).toMatchObject({ kind: 'retry', status: 429, errorClass: 'http_429', retryAfterMs: 30_000 });
    expect(receiver.received.total).toBe(1);
  });

  test.each([
    [
      { status: 503, body: 'down' },
      { kind: 'retry', errorClass: 'http_503' },
    ],
    [
      { status: 404, body: '<html>' },
      { kind: 'rejected', errorClass: 'http_404' },
    ],
    [{ status: 429 }, { kind: 'retry', errorClass: 'http_429', retryAfterMs: null }],
    [
      { status: 302, headers: { location: '/' } },
      { kind: 'retry', errorClass: 'http_302' },
    ],
    [
      { status: 200, body: '<html>Log in to the proxy' },
      { kind: 'retry', errorClass: 'slack_invalid_response' },
    ],
    [
      { status: 200, body: '' },
      { kind: 'retry', errorClass: 'slack_invalid_response' },
    ],
    [
      { status: 200, body: 'null' },
      { kind: 'retry', errorClass: 'slack_invalid_response' },
    ],
    [
      { status: 200, body: '{"ok":false,"error":7}' },
      { kind: 'retry', errorClass: 'slack_invalid_response' },
    ],
  ])('what HTTP says without Slack: %j', async (http, expected) => {
    for (const via of ['token', 'incoming'] as const) {
      expect(await (await start({ http }, via)).send()).toMatchObject(expected);
    }
  });

  test.each(['reset', 'truncate'] as const)('%s is retried', async (misbehave) => {
    const { receiver, send } = await start({ misbehave });
    expect(await send()).toMatchObject({ kind: 'retry', errorClass: 'connection_reset' });
    expect(receiver.received.total).toBe(1);
  });

  test('a body that hangs is a timeout with nothing left', async () => {
    const { receiver, send } = await start({ misbehave: 'hang-after-headers' });
    expect(await send({}, 200)).toMatchObject({ kind: 'retry', errorClass: 'timeout', status: 200 });
    await receiver.connections.whenEmpty();
  });
});
