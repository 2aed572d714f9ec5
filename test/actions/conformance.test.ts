import { email } from '../../src/actions/email/email.ts';
import { slack } from '../../src/actions/slack/slack.ts';
import { webhook } from '../../src/actions/webhook/webhook.ts';
import { type SlackReply, startSlackReceiver } from '../../src/receivers/slack-receiver.ts';
import { startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import { type Behaviour, type ConformanceFixture, describeConformance } from './conformance.ts';
import {
  emailAction,
  emailDestination,
  slackAction,
  slackDestination,
  someMessageId,
  template,
  webhookAction,
  webhookDestination,
} from './fixtures.ts';

const missing = template([{ value: '${{ int(new.status) }}' }]);

const httpReplies = {
  accept: { status: 200, body: 'taken' },
  'refuse-for-now': { status: 503, body: 'later' },
  'refuse-for-good': { status: 422, body: 'no' },
  hang: { misbehave: 'hang-before-headers' },
} as const;

const webhookSecrets = {
  user: 'u5er-n4me',
  pass: 'p4ssw0rd',
  query: 'qu3ry-t0ken',
  header: 'h3ader-t0ken',
  key: 'k3y-t0ken',
};
const webhookAt = (host: string) =>
  webhookDestination(`http://${webhookSecrets.user}:${webhookSecrets.pass}@${host}/in?token=${webhookSecrets.query}`, {
    secrets: [webhookSecrets.key],
    headers: { 'x-api-key': webhookSecrets.header },
  });

describeConformance('webhook', {
  actionType: webhook,
  action: webhookAction({ headers: { 'x-order': template('${{ new.id }}', 'header') } }),
  unrenderable: webhookAction({ body: missing }),
  secrets: Object.values(webhookSecrets),
  expectedId: someMessageId,
  at: webhookAt,
  start: async (behaviour: Behaviour) => {
    // Echoes what it got: the excerpt must not hand the secrets on.
    const receiver = await startWebhookReceiver({
      respond: ({ path, headers }) => ({ ...httpReplies[behaviour], body: JSON.stringify({ path, headers }) }),
    });
    return {
      destination: webhookAt(new URL(receiver.url).host),
      receiver: {
        connections: receiver.connections,
        arrived: () => receiver.received.total,
        messageIds: () => receiver.received.entries.map((received) => received.messageId),
        whenBusy: () => receiver.received.waitFor(1),
        close: receiver.close,
      },
    };
  },
});

const auth = { user: 'mailer', pass: 'sm7p-p4ss' };
const emailAt = (host: string) => emailDestination(`smtp://${auth.user}:${auth.pass}@${host}`);

const emailFixture: ConformanceFixture = {
  actionType: email,
  action: emailAction(),
  unrenderable: emailAction({ text: missing }),
  secrets: [auth.pass],
  expectedId: `<${someMessageId}@shop.example>`,
  at: emailAt,
  start: async (behaviour: Behaviour) => {
    let busy = () => {};
    const whenBusy = new Promise<void>((resolve) => (busy = resolve));
    const receiver = await startSmtpReceiver({
      auth,
      respond: ({ stage }) => {
        if (stage !== 'message') return undefined;
        busy();
        if (behaviour === 'hang') return 'hang';
        if (behaviour === 'refuse-for-now') return { code: 451, message: `later, ${auth.pass}` };
        return behaviour === 'refuse-for-good' ? { code: 554, message: `never, ${auth.pass}` } : undefined;
      },
    });
    return {
      destination: { ...emailAt(''), smtp: receiver.url },
      receiver: {
        connections: receiver.connections,
        arrived: () => receiver.received.total,
        messageIds: () => receiver.received.entries.map((mail) => mail.messageId),
        whenBusy: () => whenBusy,
        close: receiver.close,
      },
    };
  },
};
describeConformance('email', emailFixture);

const slackReplies: Record<Behaviour, SlackReply> = {
  accept: { ok: true },
  'refuse-for-now': { error: 'internal_error' },
  'refuse-for-good': { error: 'channel_not_found' },
  hang: { misbehave: 'hang-before-headers' },
};
const token = 'xoxb-s1ack-t0ken';
const tokenAt = (apiUrl: string) => slackDestination({ kind: 'token', token, apiUrl });

const slackFixture: ConformanceFixture = {
  actionType: slack,
  action: slackAction(),
  unrenderable: slackAction({ blocks: missing }),
  secrets: [token],
  expectedId: someMessageId,
  at: (host) => tokenAt(`http://${host}/api/`),
  start: async (behaviour: Behaviour) => {
    const receiver = await startSlackReceiver({ respond: () => slackReplies[behaviour] });
    return {
      destination: tokenAt(receiver.apiUrl),
      receiver: {
        connections: receiver.connections,
        arrived: () => receiver.received.total,
        messageIds: () => receiver.received.entries.map(({ metadata }) => readMessageId(metadata)),
        whenBusy: () => receiver.received.waitFor(1),
        close: receiver.close,
      },
    };
  },
};
describeConformance('slack with a token', slackFixture);

const incomingAt = (webhookUrl: string) => slackDestination({ kind: 'incoming', webhookUrl });

describeConformance('email to several', {
  ...emailFixture,
  action: emailAction({ to: template(['ann@example.com', 'bob@example.com'], 'address') }),
});

describeConformance('slack in a thread', {
  ...slackFixture,
  action: slackAction({ follows: { as: 'reply', key: template('order ${{ new.id }}') } }),
});

describeConformance('slack with an incoming webhook', {
  actionType: slack,
  action: slackAction({ channel: null }),
  unrenderable: slackAction({ channel: null, blocks: missing }),
  secrets: ['/T000/B000/XXXXXXXX', 'XXXXXXXX'],
  expectedId: null,
  at: (host) => incomingAt(`http://${host}/services/T000/B000/XXXXXXXX`),
  start: async (behaviour: Behaviour) => {
    const receiver = await startSlackReceiver({
      respond: () =>
        behaviour === 'refuse-for-now' ? { error: 'rollup_error', status: 500 } : slackReplies[behaviour],
    });
    return {
      destination: incomingAt(receiver.incomingUrl),
      receiver: {
        connections: receiver.connections,
        arrived: () => receiver.received.total,
        messageIds: () => receiver.received.entries.map(({ metadata }) => readMessageId(metadata)),
        whenBusy: () => receiver.received.waitFor(1),
        close: receiver.close,
      },
    };
  },
});

function readMessageId(metadata: unknown): string | null {
  const { event_payload } = (metadata ?? {}) as { event_payload?: { message_id?: string } };
  return event_payload?.message_id ?? null;
}
