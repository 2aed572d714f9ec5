// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import type { Template, TemplateMode } from '../../domain/expression.ts';
import type { Destination, SlackAction, SlackDestination } from '../../domain/rules.ts';
import { readTemplate } from '../expressions.ts';
import type { Field } from '../field.ts';
import { flag, type JsonSchema, record, template, templateText, text } from '../schema-values.ts';
import { readUrl } from '../urls.ts';
import type { Kind, OwnAction, OwnDestination } from './kind.ts';
import { attachmentsKey, threadKey } from './shared-keys.ts';

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
  attachments: attachmentsKey,
  username: templateText("Shown instead of the app's name; needs the scope chat:write.customize."),
  icon_emoji: templateText("Shown instead of the app's icon; needs the scope chat:write.customize.", {
    examples: [':package:'],
  }),
  icon_url: templateText("The same, an image's address."),
  unfurl_links: flag('Previews of links to texts. Default: as Slack does by itself.', null),
  unfurl_media: flag('Previews of links to images and the like. Default: as Slack does by itself.', null),
  thread_key: threadKey,
  reply_broadcast: flag('A reply is shown in the channel, too.', false),
  update_key: templateText('Of the messages to one channel with the same key the later ones edit the first one.', {
    examples: ['order-${{ new.id }}'],
  }),
};

export const slack: Kind<'slack'> = {
  kind: 'slack',
  destinationSchema,
  reference: text('Name of a slack destination.'),
  actionKeys,
  literalKeys: ['unfurl_links', 'unfurl_media', 'reply_broadcast'],
  actionRules: { anyOf: [{ required: ['text'] }, { required: ['blocks'] }, { required: ['attachments'] }] },
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
  if (destination?.kind === 'slack') {
    checkChannel(field, destination);
    if (destination.auth.kind === 'incoming') refuseForIncoming(field);
  }
  const template = (key: string, mode: TemplateMode): Template | null => readTemplate(field.get(key), mode);
  return {
    kind: 'slack',
    channel: template('channel', 'plain'),
    text: template('text', 'mrkdwn'),
    blocks: template('blocks', 'blocks'),
    attachments: template('attachments', 'blocks'),
    username: template('username', 'plain'),
    iconEmoji: template('icon_emoji', 'plain'),
    iconUrl: template('icon_url', 'plain'),
    unfurlLinks: field.get('unfurl_links').flag() ?? null,
    unfurlMedia: field.get('unfurl_media').flag() ?? null,
    follows: readFollows(field),
    replyBroadcast: field.get('reply_broadcast').flag() ?? false,
  };
}

function readFollows(field: Field): SlackAction['follows'] {
  const [thread, update, broadcast] = [field.get('thread_key'), field.get('update_key'), field.get('reply_broadcast')];
  if (thread.present && update.present) {
    update.refuseKey('`update_key` edits a message, and `thread_key` replies to it', 'keep one of them');
  }
  if (broadcast.present && !thread.present) {
    broadcast.refuseKey('`reply_broadcast` is for replies', 'give it a `thread_key`, or remove it');
  }
  const as = thread.present ? 'reply' : 'edit';
  const key = readTemplate(as === 'reply' ? thread : update, 'plain');
  return key === null ? null : Object.freeze({ as, key });
}

/** Keys that an incoming webhook can't serve: why not. */
const notForIncoming: Readonly<Record<string, string>> = {
  thread_key: 'it does not say where its message is, so nothing can reply to it',
  update_key: 'it does not say where its message is, so nothing can edit it',
  reply_broadcast: 'it does not say where its message is, so nothing can reply to it',
  username: 'Slack shows the name that it was made with',
  icon_emoji: 'Slack shows the icon that it was made with',
  icon_url: 'Slack shows the icon that it was made with',
};

function refuseForIncoming(field: Field): void {
  for (const [key, reason] of Object.entries(notForIncoming)) {
    const given = field.get(key);
    if (!given.present) continue;
    const name = field.get('slack').shown;
    given.refuseKey(
      `${name} is an incoming webhook: ${reason}`,
      `use a destination with a token, or remove \`${key}\``,
    );
  }
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
