import type { Template, TemplateMode } from '../../domain/expression.ts';
import type { AttachmentTemplate, Destination, EmailAction, Unsubscribe } from '../../domain/rules.ts';
import { readTemplate } from '../expressions.ts';
import type { Field } from '../field.ts';
import type { OwnAction } from './kind.ts';

export function readAction(field: Field, destination: Destination | null): OwnAction<EmailAction> {
  const template = (key: string, mode: TemplateMode): Template | null => readTemplate(field.get(key), mode);
  return {
    kind: 'email',
    to: template('to', 'address') ?? nothing,
    cc: template('cc', 'address'),
    bcc: template('bcc', 'address'),
    replyTo: template('reply_to', 'address'),
    subject: template('subject', 'header') ?? nothing,
    text: template('text', 'plain'),
    html: template('html', 'html'),
    attachments: readAttachments(field.get('attachments')),
    headers: readHeaders(field.get('headers')),
    priority: (field.get('priority').text() as EmailAction['priority'] | undefined) ?? 'normal',
    threadKey: template('thread_key', 'plain'),
    unsubscribe: readUnsubscribe(field.get('unsubscribe')),
    digest: readDigest(field.get('digest'), field.get('email'), destination),
  };
}

/** Stands in for a required template that isn't there; the configuration is refused then. */
const nothing: Template = Object.freeze({ render: () => '', renderText: () => '', renderJson: () => '""' });

function readDigest(field: Field, name: Field, destination: Destination | null): EmailAction['digest'] {
  if (!field.present) return null;
  if (destination?.kind === 'email' && destination.gathering === null) {
    field.refuseKey(`destination ${name.shown} has no \`digest\``, 'how long it gathers is said there: digest: 5m');
  }
  const intro = field.get('intro');
  const [text, html] = [readTemplate(intro, 'plain'), readTemplate(intro, 'html')];
  return Object.freeze({
    key: readTemplate(field.get('key'), 'plain'),
    intro: text === null || html === null ? null : Object.freeze({ text, html }),
  });
}

const encodings = ['text', 'base64', 'hex'] as const;

function readAttachments(field: Field): readonly AttachmentTemplate[] {
  if (!field.present) return [];
  if (!Array.isArray(field.value)) {
    field.refuse('the `attachments` of a mail are a list', 'write [{ filename: order.json, content: … }]');
    return [];
  }
  return Object.freeze(field.items().flatMap((item) => readAttachment(item) ?? []));
}

function readAttachment(field: Field): AttachmentTemplate | null {
  const known = ['filename', 'content', 'content_type', 'encoding'];
  for (const [key, given] of field.entries()) {
    if (known.includes(key)) continue;
    // nodemailer would read a file, or a URL, by these.
    const hint = ['path', 'href', 'url'].includes(key)
      ? 'what is attached comes from the event'
      : `known: ${known.join(', ')}`;
    given.refuseKey(`unknown key \`${key}\` in an attachment`, hint);
  }
  const [filename, content, type] = [
    readTemplate(field.get('filename'), 'header'),
    readTemplate(field.get('content'), 'plain'),
    readTemplate(field.get('content_type'), 'header'),
  ];
  const encoding = field.get('encoding');
  const found = encodings.find((name) => name === (encoding.value ?? 'text'));
  if (found === undefined) encoding.refuse('`encoding` must be `text`, `base64` or `hex`');
  for (const key of ['filename', 'content']) {
    if (!field.get(key).present) field.refuseKey(`this attachment has no \`${key}\``);
  }
  return filename === null || content === null || found === undefined
    ? null
    : Object.freeze({ filename, content, contentType: type, encoding: found });
}

/** What has a key of its own, or is pg-observers' to say. */
const reserved: Readonly<Record<string, string>> = {
  from: 'it is the destination’s `from`',
  to: 'write `to`',
  cc: 'write `cc`',
  bcc: 'write `bcc`',
  'reply-to': 'write `reply_to`',
  subject: 'write `subject`',
  'in-reply-to': 'write `thread_key`',
  references: 'write `thread_key`',
  'list-unsubscribe': 'write `unsubscribe`',
  'list-unsubscribe-post': 'write `unsubscribe`',
  'x-priority': 'write `priority`',
  'x-msmail-priority': 'write `priority`',
  importance: 'write `priority`',
};
const ours =
  /^(sender|date|message-id|return-path|received|mime-version|content-.*|dkim-signature|arc-.*|authentication-results|auto-submitted|x-pg-observers-.*|resent-.*)$/;

function readHeaders(field: Field): EmailAction['headers'] {
  const seen = new Set<string>();
  const headers = field.entries().flatMap(([name, value]): [string, Template][] => {
    const lower = name.toLowerCase();
    const hint = Object.hasOwn(reserved, lower) ? (reserved[lower] ?? null) : null;
    if (!/^[A-Za-z][A-Za-z0-9-]{0,75}$/.test(name))
      value.refuseKey('this is not a header name', 'letters, digits and `-`');
    else if (hint !== null) value.refuseKey(`header \`${name}\` has a key of its own`, hint);
    else if (ours.test(lower)) value.refuseKey(`header \`${name}\` is set by pg-observers`, 'remove it');
    else if (seen.has(lower))
      value.refuseKey(`header \`${name}\` is given twice`, 'names are the same in upper and lower case');
    seen.add(lower);
    const template = readTemplate(value, 'header');
    return template === null ? [] : [[name, template]];
  });
  return Object.freeze(Object.fromEntries(headers));
}

function readUnsubscribe(field: Field): Unsubscribe | null {
  if (!field.present) return null;
  const [url, mailto, oneClick] = [field.get('url'), field.get('mailto'), field.get('one_click')];
  if (typeof oneClick.value === 'string') oneClick.refuse('`one_click` must be true or false, without a template');
  const text = url.text();
  if (text !== undefined && !text.startsWith('${{') && !text.startsWith('https://'))
    url.refuse('`url` is not an https:// URL', 'mail programs take no other');
  return Object.freeze({
    url: readTemplate(url, 'header'),
    mailto: readTemplate(mailto, 'header'),
    oneClick: oneClick.flag() ?? true,
  });
}
