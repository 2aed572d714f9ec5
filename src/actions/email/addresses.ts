import addressparser, { type MailboxAddress } from 'nodemailer/lib/addressparser';
import { ExpressionError, type Scope, type Template } from '../../domain/expression.ts';

export interface Mailbox {
  readonly name: string;
  readonly address: string;
}

/** One `@` outside quotes with something on both sides, nothing that could end an SMTP command. */
const addressForm = /^[^\s<>()[\],;:@"\\]+@[^\s<>()[\],;:@"\\]+$/;

/**
 * The mailboxes that a template yields: a string (`Ann <ann@example.com>`, also several with commas), a list of those, or
 * null for none.
 *
 * @param field `to`, `cc`, …: for messages
 * @throws ExpressionError when something in it is no address
 */
export function renderMailboxes(field: string, template: Template | null, scope: Scope): Mailbox[] {
  if (template === null) return [];
  const value = template.render(scope);
  const items: readonly unknown[] = Array.isArray(value) ? value : [value];
  return items.flatMap((item) => {
    if (item === null || item === undefined || item === '') return [];
    if (typeof item !== 'string') throw notAnAddress(field, String(item));
    return parseMailboxes(field, item);
  });
}

function parseMailboxes(field: string, text: string): Mailbox[] {
  return addressparser(text, { flatten: true }).map((mailbox) => {
    if (!addressForm.test(mailbox.address)) throw notAnAddress(field, text);
    return mailbox;
  });
}

function notAnAddress(field: string, text: string): ExpressionError {
  return new ExpressionError(`${field}: ${JSON.stringify(text)} is not an email address`, field);
}

/** `Ann <ann@example.com>`, or the bare address without a name. */
export function formatMailbox({ name, address }: Mailbox): string {
  return name === '' ? address : `${name} <${address}>`;
}

/** The host that `from` belongs to: the right side of the Message-ID. */
export function hostOf(from: string): string {
  const [mailbox] = addressparser(from, { flatten: true }) as (MailboxAddress | undefined)[];
  return mailbox?.address.split('@').at(-1) || 'localhost';
}
