// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import type { Destination, SlackAction, SlackDestination } from '../../domain/rules.ts';
import { readTemplate } from '../expressions.ts';
import type { Field } from '../field.ts';
import { type JsonSchema, record, template, templateText, text } from '../schema-values.ts';
import { readUrl } from '../urls.ts';
import type { Kind, OwnAction, OwnDestination } from './kind.ts';

const destinationSchema = record(
  'A Slack workspace (`token`: any channel) or an incoming webhook (`webhook_url`: the one channel it was made for).',
  {
    token: text('Bot token with the scope chat:write.', { examples: ['${SLACK_BOT_TOKEN}'] }),
    webhook_url: text('URL of an incoming webhook; as secret as a token.', { examples: ['${SLACK_WEBHOOK_URL}'] }),
    api_url: text('Root of the Slack API, for proxies and tests.', { default: 'https://slack.com/api/' }),
  },
  { oneOf: [{ required: ['token'] }, { required: ['webhook_url'] }], dependencies: { api_url: ['token'] } },
);

const actionKeys: JsonSchema = {
  channel: templateText('Channel id or `#name`; required with `token`, built into an incoming webhook.', {
    examples: ['#sales'],
  }),
  text: templateText('Plain text of the mail or the Slack message (escaped there as mrkdwn).'),
  blocks: template('Block Kit blocks.', { type: ['array', 'string'] }),
};

export const slack: Kind<'slack'> = {
  kind: 'slack',
  destinationSchema,
  reference: text('Name of a slack destination.'),
  actionKeys,
  actionRules: { anyOf: [{ required: ['text'] }, { required: ['blocks'] }] },
  readDestination,
  readAction,
};

function readDestination(field: Field): OwnDestination<SlackDestination> {
  const webhook = field.get('webhook_url');
  if (webhook.present) {
    readUrl(webhook, 'http');
    const webhookUrl = webhook.text() ?? '';
    webhook.secret(webhookUrl);
    return { kind: 'slack', auth: Object.freeze({ kind: 'incoming', webhookUrl }) };
  }
  const token = field.get('token');
  const text = token.text() ?? '';
  token.secret(text);
  if (/\s/.test(text)) token.refuse('`token` has white space in it');
  const api = readUrl(field.get('api_url'), 'http');
  return {
    kind: 'slack',
    auth: Object.freeze({ kind: 'token', token: text, apiUrl: api === null ? null : rootOf(api) }),
  };
}

/** Method names are appended to it. */
function rootOf(url: URL): string {
  return url.href.endsWith('/') ? url.href : `${url.href}/`;
}

function readAction(field: Field, destination: Destination | null): OwnAction<SlackAction> {
  if (destination?.kind === 'slack') checkChannel(field, destination);
  return {
    kind: 'slack',
    channel: readTemplate(field.get('channel'), 'plain'),
    text: readTemplate(field.get('text'), 'mrkdwn'),
    blocks: readTemplate(field.get('blocks'), 'mrkdwn'),
  };
}

function checkChannel(field: Field, destination: SlackDestination): void {
  const channel = field.get('channel');
  const name = field.get('slack').shown;
  if (destination.auth.kind === 'incoming' && channel.present) {
    channel.refuseKey(`${name} is an incoming webhook, which has its channel built in`, 'remove `channel`');
  } else if (destination.auth.kind === 'token' && channel.value === undefined) {
    field
      .get('slack')
      .refuseKey(`destination ${name} has a token, so this action needs a \`channel\``, 'such as channel: "#sales"');
  }
}
