// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import type { Template, TemplateMode } from '../../domain/expression.ts';
import type { EmailAction, EmailDestination } from '../../domain/rules.ts';
import { readTemplate } from '../expressions.ts';
import type { Field } from '../field.ts';
import { type JsonSchema, record, template, templateText, text } from '../schema-values.ts';
import { readUrl } from '../urls.ts';
import type { Kind, OwnAction, OwnDestination } from './kind.ts';

const destinationSchema = record(
  'A mail server.',
  {
    smtp: text('smtp:// or smtps:// URL, credentials inside.', {
      examples: ['${SMTP_URL}', 'smtps://user:password@mail.example.com'],
    }),
    from: text('The sender.', { examples: ['Orders <orders@example.com>'] }),
  },
  { required: ['smtp', 'from'] },
);

const addresses = { type: ['string', 'array'], minLength: 1, minItems: 1, items: { type: 'string', minLength: 1 } };

const actionKeys: JsonSchema = {
  to: template('Recipient or list of recipients.', addresses),
  cc: template('Copy.', addresses),
  bcc: template('Blind copy.', addresses),
  reply_to: templateText('Where answers go.'),
  subject: templateText('Subject line.'),
  text: templateText('Plain text of the mail or the Slack message (escaped there as mrkdwn).'),
  html: templateText('HTML of the mail; inserted values are escaped.'),
};

export const email: Kind<'email'> = {
  kind: 'email',
  destinationSchema,
  reference: text('Name of an email destination.'),
  actionKeys,
  actionRules: { required: ['to', 'subject'], anyOf: [{ required: ['text'] }, { required: ['html'] }] },
  readDestination,
  readAction,
};

function readDestination(field: Field): OwnDestination<EmailDestination> {
  const [smtp, from] = [field.get('smtp'), field.get('from')];
  readUrl(smtp, 'smtp');
  const sender = from.text();
  if (sender !== undefined && !/^[^\r\n]*[^\s@<>]+@[^\s@<>]+>?$/.test(sender)) {
    from.refuse(
      `\`from\` is not a mail address: ${from.shown}`,
      'write orders@example.com or "Orders <orders@example.com>"',
    );
  }
  return { kind: 'email', smtp: smtp.text() ?? '', from: sender ?? '' };
}

function readAction(field: Field): OwnAction<EmailAction> {
  const template = (key: string, mode: TemplateMode): Template | null => readTemplate(field.get(key), mode);
  return {
    kind: 'email',
    to: template('to', 'header') ?? nothing,
    cc: template('cc', 'header'),
    bcc: template('bcc', 'header'),
    replyTo: template('reply_to', 'header'),
    subject: template('subject', 'header') ?? nothing,
    text: template('text', 'plain'),
    html: template('html', 'html'),
  };
}

/** Stands in for a required template that isn't there; the configuration is refused then. */
const nothing: Template = Object.freeze({ render: () => '', renderText: () => '', renderJson: () => '""' });
