import { commonMessageId } from '../../domain/delivery.ts';
import type { Scope } from '../../domain/expression.ts';
import type { EmailAction } from '../../domain/rules.ts';
import type { Combining } from '../contract.ts';
import { eventHeader } from './headers.ts';
import type { EmailRequest } from './request.ts';

/*
 * A digest is one mail for several deliveries: an introduction, and the text and HTML of each. Subject, introduction and what else
 * there is one of are the oldest one's. Who receives it is part of what they must have in common, so that nobody gets what
 * is meant for somebody else, whatever `key` says.
 */

const textRule = `\n\n${'-'.repeat(40)}\n\n`;
const htmlRule = '\n<hr>\n';

export function renderDigest({ digest }: EmailAction, scope: Scope): NonNullable<EmailRequest['digest']> {
  const intro = digest?.intro ?? null;
  return {
    key: digest?.key?.renderText(scope) ?? '',
    intro: intro && { text: intro.text.renderText(scope), html: intro.html.renderText(scope) },
  };
}

export const digests: Combining<EmailRequest> = {
  keyOf({ to, cc, bcc, replyTo, headers, priority, digest }) {
    const { [eventHeader]: _, ...others } = headers;
    return JSON.stringify([digest?.key, to, cc, bcc, replyTo, others, priority]);
  },
  sizeOf: ({ text, html, attachments }) =>
    Buffer.byteLength(text ?? '') +
    Buffer.byteLength(html ?? '') +
    attachments.reduce((sum, { content }) => sum + content.length, 0),
  combine(requests) {
    const [first] = requests;
    if (first === undefined) throw new Error('a digest of nothing');
    const { [eventHeader]: _, ...others } = first.headers;
    const intro = first.digest?.intro ?? null;
    return {
      ...first,
      messageId: commonMailId(requests.map(({ messageId }) => messageId)),
      text: joined(intro?.text ?? null, requests, ({ text }) => text, textRule),
      html: joined(intro && `<p>${intro.html}</p>`, requests, ({ html }) => html, htmlRule),
      attachments: requests.flatMap(({ attachments }) => attachments),
      headers: requests.length === 1 ? first.headers : others,
    };
  },
};

function commonMailId(ids: readonly string[]): string {
  const [first = ''] = ids;
  return ids.length === 1 ? first : `<${commonMessageId(ids)}${first.slice(first.indexOf('@'))}`;
}

function joined(
  intro: string | null,
  requests: readonly EmailRequest[],
  partOf: (request: EmailRequest) => string | null,
  rule: string,
): string | null {
  const parts = requests.flatMap((request) => partOf(request) ?? []);
  if (parts.length === 0) return null;
  return [...(intro ? [intro] : []), ...parts].join(rule);
}
