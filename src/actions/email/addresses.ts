import { domainToASCII } from 'node:url';
import addressparser, { type MailboxAddress } from 'nodemailer/lib/addressparser';
import { ExpressionError, type Scope, type Template } from '../../domain/expression.ts';
import { unmaskAddress } from '../../expression/index.ts';

export interface Mailbox {
  readonly name: string;
  readonly address: string;
}

/** One `@` outside quotes with something on both sides, nothing that could end an SMTP command. */
const addressForm = /^[^\s<>()[\],;:@"\\]+@[^\s<>()[\],;:@"\\]+$/;

/**
 * The mailboxes that a template yields: a string (`Ann <ann@example.com>`, also several with commas), a list of strings with one
 * mailbox each, or null for none.
 *
 * @param field `to`, `cc`, …: for messages
 * @throws ExpressionError when something in it is no address
 */
export function renderMailboxes(field: string, template: Template | null, scope: Scope): Mailbox[] {
  if (template === null) return [];
  const value = template.render(scope);
  return Array.isArray(value) ? value.flatMap((item) => listed(field, item)) : mailboxes(field, value);
}

/** A template in a list may yield a list of its own. */
function listed(field: string, item: unknown): Mailbox[] {
  if (Array.isArray(item)) return item.flatMap((inner) => listed(field, inner));
  const found = mailboxes(field, item);
  if (found.length <= 1) return found;
  throw new ExpressionError(
    `${field}: ${JSON.stringify(item)} names ${found.length} recipients where one belongs`,
    field,
  );
}

function mailboxes(field: string, value: unknown): Mailbox[] {
  if (value === null || value === undefined || value === '') return [];
  if (typeof value !== 'string') throw notAnAddress(field, String(value));
  return addressparser(value, { flatten: true }).map((found) => {
    const [name, address] = [unmaskAddress(found.name), unmaskAddress(found.address)];
    if (!addressForm.test(address)) throw notAnAddress(field, unmaskAddress(value));
    return { name, address };
  });
}

function notAnAddress(field: string, text: string): ExpressionError {
  return new ExpressionError(`${field}: ${JSON.stringify(text)} is not an email address`, field);
}

/** `Ann <ann@example.com>`, or the bare address without a name. */
export function formatMailbox({ name, address }: Mailbox): string {
  return name === '' ? address : `${name} <${address}>`;
}

/** What makes two spellings one recipient: the domain in lower case and in ASCII. The part before it is the receiver's business. */
export function addressKey(address: string): string {
  const at = address.lastIndexOf('@');
  const domain = address.slice(at + 1);
  return `${address.slice(0, at)}@${domainToASCII(domain) || domain.toLowerCase()}`;
}

/** The bare address of `from`, and the host that it belongs to: the right side of the Message-ID. */
export function senderOf(from: string): { readonly address: string; readonly host: string } {
  const [mailbox] = addressparser(from, { flatten: true }) as (MailboxAddress | undefined)[];
  const address = mailbox?.address ?? from;
  const host = address.slice(address.lastIndexOf('@') + 1);
  return { address, host: domainToASCII(host) || 'localhost' };
}
