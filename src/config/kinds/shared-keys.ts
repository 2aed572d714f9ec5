// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { type JsonSchema, template, templateText } from '../schema-values.ts';

/*
 * Keys that actions of several kinds have: the schema has one description for each, whichever the kind.
 */

export const headersKey: JsonSchema = template(
  "Headers of the request, besides the destination's, or of the mail. Reserved names (webhook-id, webhook-timestamp, webhook-signature, host, content-length, …; of a mail Subject, Message-ID, …) are refused.",
  { type: 'object', additionalProperties: { type: 'string' } },
);

export const attachmentsKey: JsonSchema = template(
  'Of a mail: a list of { filename, content, content_type, encoding }, where encoding says how a text holds the content: text, base64, or hex as a bytea column. Of a Slack message: its older form of blocks.',
  {
    type: ['array', 'string'],
    examples: [[{ filename: 'order-${{ new.id }}.json', content: '${{ new }}', content_type: 'application/json' }]],
  },
);

export const threadKey: JsonSchema = templateText(
  'Messages to one Slack channel with the same key are one thread: the first one begins it, the others reply. Mails with the same key are shown as one conversation.',
  { examples: ['order-${{ new.id }}'] },
);
