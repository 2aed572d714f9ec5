import { ExpressionError, type Scope } from '../../domain/expression.ts';
import type { AttachmentTemplate } from '../../domain/rules.ts';

export interface Attachment {
  readonly filename: string;
  /** null: by the name. */
  readonly contentType: string | null;
  readonly content: Buffer;
}

/** All of a mail together, before they are written as base64. Bytes. */
const mostBytes = 10 * 1024 * 1024;

const contentTypeForm = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:; ?[\w.-]+=(?:[\w.+-]+|"[^"\\\r\n]*"))*$/;

/**
 * Those whose content is not null.
 * @throws ExpressionError when one can't be attached, or all of them are too large
 */
export function renderAttachments(templates: readonly AttachmentTemplate[], scope: Scope): Attachment[] {
  const attachments = templates.flatMap((template) => renderAttachment(template, scope) ?? []);
  const bytes = attachments.reduce((sum, { content }) => sum + content.length, 0);
  if (bytes <= mostBytes) return attachments;
  throw new ExpressionError(`the attachments have ${bytes} bytes, more than ${mostBytes}`, 'attachments');
}

function renderAttachment(template: AttachmentTemplate, scope: Scope): Attachment | null {
  const value = template.content.render(scope);
  if (value === null || value === undefined) return null;
  // Printed from the event itself: numbers keep their digits.
  const text = typeof value === 'string' ? value : template.content.renderJson(scope);
  const contentType = template.contentType?.renderText(scope) ?? '';
  if (contentType !== '' && !contentTypeForm.test(contentType))
    throw new ExpressionError(`content_type: ${JSON.stringify(contentType)} is not a media type`, 'content_type');
  // A path in a name is an attempt, or a mistake.
  const filename = template.filename
    .renderText(scope)
    .replace(/^.*[/\\]/s, '')
    .trim();
  if (filename === '') throw new ExpressionError('filename: the attachment has no name', 'filename');
  return { filename, contentType: contentType === '' ? null : contentType, content: decode(text, template.encoding) };
}

function decode(text: string, encoding: AttachmentTemplate['encoding']): Buffer {
  if (encoding === 'text') return Buffer.from(text);
  // As PostgreSQL writes a bytea; base64 it breaks into lines.
  const bare = encoding === 'hex' ? text.replace(/^\\x/, '') : text.replace(/\s/g, '');
  const bytes = Buffer.from(bare, encoding);
  // Buffer.from passes over what it can't read, or stops there.
  const whole = encoding === 'hex' ? bare.length / 2 : Math.floor((bare.replace(/=+$/, '').length * 3) / 4);
  if (bytes.length === whole) return bytes;
  throw new ExpressionError(`content: this is not ${encoding}`, 'content');
}
