// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import type { Gathering } from '../../domain/gathering.ts';
import type { EmailDestination } from '../../domain/rules.ts';
import type { Field } from '../field.ts';
import { duration, flag, type JsonSchema, record, template, templateText, text, whole } from '../schema-values.ts';
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

const digestKey: JsonSchema = {
  description:
    'Several deliveries of one action to the same recipients in one mail, sent when the oldest has waited so long.',
  type: ['string', 'object'],
  minLength: 1,
  required: ['every'],
  additionalProperties: false,
  properties: {
    every: duration('So long the oldest waits for others.', { examples: ['5m'] }),
    max: whole('Deliveries in one mail.', 1, 1_000, { default: 500 }),
    max_bytes: whole('Size of one mail, attachments included.', 1_024, 64 * 1024 * 1024, { default: 5 * 1024 * 1024 }),
  },
  examples: ['5m', { every: '1h', max: 100 }],
};

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
  digest: record('Of a mail at a destination with `digest`.', {
    key: templateText('Only mails with the same value become one. Default: all to the same recipients.', {
      examples: ['${{ new.customer_id }}'],
    }),
    intro: templateText('Stands before the items.'),
  }),
};

export const email: Kind<'email'> = {
  kind: 'email',
  destinationSchema,
  destinationKeys: { digest: digestKey },
  reference: text('Name of an email destination.'),
  actionKeys,
  literalKeys: ['priority'],
  actionRules: { required: ['to', 'subject'], anyOf: [{ required: ['text'] }, { required: ['html'] }] },
  readDestination,
  readAction,
};

/** So many wait at most before they go; of these a claim brings all. */
const digestedAtOnce = 1_000;
const day = 86_400_000;

function readDigest(field: Field): Gathering | null {
  if (!field.present) return null;
  const every = field.text() === undefined ? field.get('every') : field;
  return Object.freeze({
    waitMs: every.duration(1_000, day) ?? day,
    enough: digestedAtOnce,
    most: field.get('max').number() ?? 500,
    maxBytes: field.get('max_bytes').number() ?? 5 * 1024 * 1024,
    perItem: false,
  });
}

function readDestination(field: Field, destination: Field): OwnDestination<EmailDestination> {
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
    gathering: readDigest(destination.get('digest')),
  };
}
