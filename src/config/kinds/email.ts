// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import type { EmailDestination } from '../../domain/rules.ts';
import type { Field } from '../field.ts';
import { flag, type JsonSchema, record, template, templateText, text, whole } from '../schema-values.ts';
import { readAction } from './email-action.ts';
import { dkimSchema, readDkim, readSmtp, smtpSchema } from './email-server.ts';
import type { Kind, OwnDestination } from './kind.ts';
import { attachmentsKey, headersKey, threadKey } from './shared-keys.ts';

const destinationSchema = record(
  'A mail server.',
  {
    smtp: smtpSchema,
    from: text('The sender.', { examples: ['Orders <orders@example.com>'] }),
    dkim: dkimSchema,
    max_messages: whole('Mails that one connection carries before another one is made.', 1, 100_000, { default: 100 }),
  },
  { required: ['smtp', 'from'] },
);

const addresses = { type: ['string', 'array'], minLength: 1, minItems: 1, items: { type: 'string', minLength: 1 } };

const actionKeys: JsonSchema = {
  to: template('Recipient or list of recipients.', addresses),
  cc: template('Copy.', addresses),
  bcc: template('Blind copy.', addresses),
  reply_to: template('Where answers go.', addresses),
  subject: templateText('Subject line.'),
  text: templateText('Plain text of the mail or the Slack message (escaped there as mrkdwn).'),
  html: templateText('HTML of the mail; inserted values are escaped. Without `text` it gets a text part made of it.'),
  attachments: attachmentsKey,
  headers: headersKey,
  priority: { description: 'How the mail is marked. Default: normal, not at all.', enum: ['high', 'normal', 'low'] },
  thread_key: threadKey,
  unsubscribe: {
    ...record(
      'List-Unsubscribe: how to get no more of these.',
      {
        url: templateText('https:// URL.'),
        mailto: templateText('Mail address.'),
        one_click: flag('Whether a POST to the URL unsubscribes without a question (RFC 8058).', true),
      },
      { anyOf: [{ required: ['url'] }, { required: ['mailto'] }] },
    ),
  },
};

export const email: Kind<'email'> = {
  kind: 'email',
  destinationSchema,
  reference: text('Name of an email destination.'),
  actionKeys,
  literalKeys: ['priority'],
  actionRules: { required: ['to', 'subject'], anyOf: [{ required: ['text'] }, { required: ['html'] }] },
  readDestination,
  readAction,
};

function readDestination(field: Field): OwnDestination<EmailDestination> {
  const from = field.get('from');
  const sender = from.text();
  if (sender !== undefined && !/^[^\r\n]*[^\s@<>]+@[^\s@<>]+>?$/.test(sender)) {
    from.refuse(
      `\`from\` is not a mail address: ${from.shown}`,
      'write orders@example.com or "Orders <orders@example.com>"',
    );
  }
  return {
    kind: 'email',
    smtp: readSmtp(field.get('smtp')),
    from: sender ?? '',
    maxMessages: field.get('max_messages').number() ?? 100,
    dkim: readDkim(field.get('dkim'), sender ?? ''),
  };
}
