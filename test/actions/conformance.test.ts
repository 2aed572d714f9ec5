// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${{ }} is the format's own syntax here
import { afterAll } from 'vitest';
import { email } from '../../src/actions/email/email.ts';
import { log } from '../../src/actions/log/log.ts';
import { module } from '../../src/actions/module/module.ts';
import { slack } from '../../src/actions/slack/slack.ts';
import { sql } from '../../src/actions/sql/sql.ts';
import { webhook } from '../../src/actions/webhook/webhook.ts';
import type { CustomAction } from '../../src/domain/custom-action.ts';
import { builtInOutcomes } from '../../src/domain/outcome-policy.ts';
import type { Destination, LogAction, ModuleAction, SqlAction, SqlDestination } from '../../src/domain/rules.ts';
import { compileStatement } from '../../src/expression/index.ts';
import { type SlackReply, startSlackReceiver } from '../../src/receivers/slack-receiver.ts';
import { startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { SocketSet } from '../../src/receivers/socket-set.ts';
import { startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import { eventually } from '../deliver/fixture.ts';
import { createDatabase, onServer } from '../support/database.ts';
import { type Behaviour, type ConformanceFixture, describeConformance } from './conformance.ts';
import {
  actionBase,
  common,
  emailAction,
  emailDestination,
  logDestination,
  logged,
  slackAction,
  slackDestination,
  someMessageId,
  template,
  webhookAction,
  webhookDestination,
} from './fixtures.ts';
import { startGate } from './gate.ts';
import { moduleDestination } from './module-fixture.ts';

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

const webhookFixture: ConformanceFixture = {
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
};
describeConformance('webhook', webhookFixture);

const gathering = { waitMs: 1_000, enough: 10, most: 10, maxBytes: 1_000_000, perItem: false };
const gathers = (fixture: ConformanceFixture): ConformanceFixture => ({
  ...fixture,
  combines: true,
  start: async (behaviour) => {
    const { receiver, destination } = await fixture.start(behaviour);
    return { receiver, destination: { ...destination, gathering } as Destination };
  },
});
describeConformance('webhook with a batch', gathers(webhookFixture));

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
describeConformance('email with a digest', gathers(emailFixture));

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

const example = new URL('../../examples/actions/pagerduty.mjs', import.meta.url).href;
const { default: pagerDuty } = (await import(example)) as { default: CustomAction };
const pagerAt = (host: string) =>
  moduleDestination(pagerDuty, { url: `http://${host}/v2/enqueue`, routing_key: 'r0uting-k3y' });
const pagerAction = (input: unknown): ModuleAction => ({
  ...actionBase,
  outcomes: builtInOutcomes('module'),
  kind: 'module',
  destination: pagerAt('127.0.0.1:9'),
  input: template(input),
});

describeConformance('a module: examples/actions/pagerduty.mjs', {
  actionType: module,
  action: pagerAction({ summary: 'Order ${{ new.id }}' }),
  unrenderable: pagerAction({ summary: '${{ new.missing }}' }),
  secrets: ['r0uting-k3y'],
  expectedId: someMessageId,
  place: './custom.mjs',
  reconnects: true,
  at: pagerAt,
  start: async (behaviour: Behaviour) => {
    const receiver = await startWebhookReceiver({
      respond: ({ body }) => ({ ...httpReplies[behaviour], body, headers: { connection: 'close' } }),
    });
    return {
      destination: pagerAt(new URL(receiver.url).host),
      receiver: {
        connections: receiver.connections,
        arrived: () => receiver.received.total,
        messageIds: () => receiver.received.entries.map(({ body }) => JSON.parse(body).dedup_key),
        whenBusy: () => receiver.received.waitFor(1),
        close: receiver.close,
      },
    };
  },
});

const statements: Record<Behaviour, string> = {
  accept: 'insert into taken values (id)',
  'refuse-for-now': "raise exception 'later' using errcode = 'serialization_failure'",
  'refuse-for-good': "raise exception 'never sq1-p4ss' using errcode = 'check_violation', detail = 'sq1-p4ss'",
  hang: 'perform pg_sleep(30)',
};
const sqlRole = `conformance_${process.pid}`;
const sqlAt = (host: string, name = 'audit'): SqlDestination => ({
  ...common,
  outcomes: builtInOutcomes('sql'),
  kind: 'sql',
  name: 'audit',
  database: `postgres://${sqlRole}:sq1-p4ss@${host}/${name}`,
  role: null,
});
afterAll(() => onServer(`drop role if exists ${sqlRole}`));

function alreadyThere(error: { code?: string }): void {
  if (error.code !== '42710') throw error;
}

const sqlAction = (statement: string): SqlAction => ({
  ...actionBase,
  outcomes: builtInOutcomes('sql'),
  kind: 'sql',
  destination: sqlAt('127.0.0.1:9'),
  statement: compileStatement(statement),
});

describeConformance('sql in another database', {
  actionType: sql,
  action: sqlAction('select receive(${{ delivery.id }})'),
  unrenderable: sqlAction('select ${{ int(new.status) }}'),
  secrets: ['sq1-p4ss'],
  expectedId: someMessageId,
  hasStatus: false,
  at: sqlAt,
  start: async (behaviour: Behaviour) => {
    const database = await createDatabase(`sql_${behaviour.replaceAll('-', '_')}`);
    await database.query(`create table taken (id text); create function receive(id text) returns void
      language plpgsql as $$ begin ${statements[behaviour]}; end $$`);
    // The server of the tests may ask for passwords.
    await database.query(`create role ${sqlRole} superuser login password 'sq1-p4ss'`).catch(alreadyThere);
    const ids = async () => (await database.query<{ id: string }>('select id from taken')).rows.map(({ id }) => id);
    const server = new URL(database.url);
    const gate = await startGate({ host: server.hostname, port: Number(server.port) });
    return {
      destination: sqlAt(`127.0.0.1:${gate.port}`, database.name),
      receiver: {
        connections: gate.connections,
        arrived: async () => (await ids()).length,
        messageIds: ids,
        whenBusy: () =>
          eventually('it is at work', async () => {
            const { rowCount } = await database.query(
              `select from pg_stat_activity where datname = current_database() and query like 'select receive%'`,
            );
            return rowCount === 1;
          }),
        close: gate.close,
      },
    };
  },
});

const logAction = (log: string): LogAction => ({
  ...actionBase,
  outcomes: builtInOutcomes('log'),
  kind: 'log',
  destination: logDestination,
  level: 'info',
  message: template(log),
  fields: template({ id: '${{ delivery.id }}' }),
});

describeConformance('log', {
  actionType: log,
  action: logAction('order ${{ new.id }}'),
  unrenderable: logAction('order ${{ int(new.status) }}'),
  secrets: [],
  expectedId: someMessageId,
  at: null,
  start: async () => {
    const before = logged.length;
    const lines = () => logged.slice(before);
    return {
      destination: logDestination,
      receiver: {
        connections: new SocketSet(),
        arrived: () => lines().length,
        messageIds: () => lines().map(({ fields }) => String(fields?.id)),
        whenBusy: async () => {},
        close: async () => {},
      },
    };
  },
});
