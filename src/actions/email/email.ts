import { ExpressionError, type Scope, type Template } from '../../domain/expression.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { EmailAction, EmailDestination } from '../../domain/rules.ts';
import type { ActionType, AttemptContext, Combining, DestinationClient, NoteKey } from '../contract.ts';
import { delivered, timedOut } from '../outcomes.ts';
import { createRedactor, secretsOfUrl } from '../redaction.ts';
import { addressKey, renderMailboxes, senderOf } from './addresses.ts';
import { renderAttachments } from './attachments.ts';
import { digests, renderDigest } from './digest.ts';
import { renderHeaders } from './headers.ts';
import { textOfHtml } from './html-text.ts';
import { leftOf, type Progress, type Refusal, readProgress, refusalsOf, splitOutcome } from './recipients.ts';
import { describeMail, type EmailRequest } from './request.ts';
import { acceptedOutcome, failedOutcome } from './smtp-outcome.ts';
import { openTransport } from './transport.ts';

/** A mail over SMTP. */
export const email = {
  kind: 'email',
  open: (destination: EmailDestination) => new EmailClient(destination),
} satisfies ActionType<EmailDestination, EmailAction, EmailRequest>;

/** A server must take so many (RFC 5321 §4.5.3.1.8), and a list that comes from data should have an end. */
const mostRecipients = 100;

class EmailClient implements DestinationClient<EmailAction, EmailRequest> {
  readonly #from: string;
  readonly #sender: ReturnType<typeof senderOf>;
  readonly #server: string;
  readonly #host: string;
  readonly #redact: (text: string) => string;
  readonly #destination: EmailDestination;
  /** From the first mail on. */
  #transport: ReturnType<typeof openTransport> | null = null;
  readonly combining: Combining<EmailRequest> | null;
  #closing: Promise<void> | null = null;

  constructor(destination: EmailDestination) {
    const { smtp } = destination;
    this.#from = destination.from;
    this.combining = destination.gathering && digests;
    this.#sender = senderOf(destination.from);
    this.#host = typeof smtp === 'string' ? new URL(smtp).host : hostOf(smtp);
    const secure = typeof smtp === 'string' ? smtp.startsWith('smtps:') : smtp.secure;
    this.#server = `${secure ? 'smtps' : 'smtp'}://${this.#host}`;
    this.#redact = createRedactor(secretsOf(smtp));
    this.#destination = destination;
  }

  render(action: EmailAction, scope: Scope, messageId: string): EmailRequest {
    const text = (template: Template | null) => template?.renderText(scope) ?? null;
    const html = text(action.html);
    return {
      messageId: `<${messageId}@${this.#sender.host}>`,
      ...renderRecipients(action, scope),
      replyTo: renderMailboxes('reply_to', action.replyTo, scope),
      subject: action.subject.renderText(scope),
      text: text(action.text) ?? (html === null ? null : textOfHtml(html)),
      html,
      attachments: renderAttachments(action.attachments, scope),
      headers: renderHeaders(action, scope, this.#sender.host),
      priority: action.priority,
      outcomes: action.outcomes,
      digest: this.combining && renderDigest(action, scope),
    };
  }

  /** One recipient has the mail or not: there is nothing to note. */
  noteOf({ recipients, messageId }: EmailRequest): NoteKey | null {
    return recipients.length < 2 ? null : { of: 'delivery', key: `mail ${messageId}` };
  }

  async send(request: EmailRequest, attempt: AttemptContext): Promise<Outcome> {
    if (attempt.deadline.passed) return timedOut(this.#host, attempt);
    const before = readProgress(attempt.note, attempt.number);
    const left = leftOf(request.recipients, before);
    if (left.length === 0) return this.#split(request, before, [], []);
    try {
      const transport = await this.#open();
      const info = await transport.sendMail(this.#toMail(request, left, attempt.deadline.signal));
      const refused = refusalsOf(info) ?? [];
      if (refused.length > 0 || before.refused.length > 0)
        return this.#split(request, before, (info.accepted ?? []).map(String), refused);
      const outcome = acceptedOutcome(info, this.#redact);
      return before.accepted.length > 0 ? { ...outcome, note: null } : outcome;
    } catch (error) {
      if (attempt.deadline.passed) return timedOut(this.#host, attempt);
      const refused = refusalsOf(error);
      return refused === null || request.recipients.length === 1
        ? failedOutcome(error, this.#host, this.#redact)
        : this.#split(request, before, [], refused);
    }
  }

  #split(request: EmailRequest, before: Progress, accepted: readonly string[], refused: readonly Refusal[]): Outcome {
    const { recipients, outcomes: policy } = request;
    if (refused.length === 0 && before.refused.length === 0) return { ...delivered(null, null), note: null };
    return splitOutcome({ host: this.#host, redact: this.#redact, recipients, before, accepted, refused, policy });
  }

  describe(request: EmailRequest, note?: unknown): unknown {
    const progress = note === null || note === undefined ? null : readProgress(note, 0);
    const { messageId } = request;
    return { server: this.#server, messageId, from: this.#from, ...describeMail(request, progress) };
  }

  /** Mails in flight finish first (each has its deadline); the pool closes their connections after them. */
  close(): Promise<void> {
    this.#closing ??=
      this.#transport === null ? Promise.resolve() : this.#transport.then((transport) => transport.close());
    return this.#closing;
  }

  #open(): ReturnType<typeof openTransport> {
    if (this.#closing !== null) throw Object.assign(new Error('closed'), { code: 'UND_ERR_CLOSED' });
    this.#transport ??= openTransport(this.#destination);
    return this.#transport;
  }

  #toMail(request: EmailRequest, left: readonly string[], signal: AbortSignal) {
    const { messageId, subject, text, html, priority, headers } = request;
    return {
      // Whom it is for says the envelope, and nothing else: who has the mail already still stands in its head.
      envelope: { from: this.#sender.address, to: [...left] },
      from: this.#from,
      to: [...request.to],
      cc: [...request.cc],
      replyTo: [...request.replyTo],
      subject,
      text: text ?? undefined,
      html: html ?? undefined,
      attachments: request.attachments.map(({ filename, contentType, content }) => ({
        filename,
        content,
        ...(contentType !== null && { contentType }),
      })),
      messageId,
      headers,
      ...(priority !== 'normal' && { priority }),
      // The pool takes a mail whose signal aborts out of its queue, or closes the connection that is sending it.
      signal,
    };
  }
}

function renderRecipients(action: EmailAction, scope: Scope) {
  const to = renderMailboxes('to', action.to, scope);
  if (to.length === 0) throw new ExpressionError('to: there is no recipient', 'to');
  const [cc, bcc] = [renderMailboxes('cc', action.cc, scope), renderMailboxes('bcc', action.bcc, scope)];
  const byKey = new Map([...to, ...cc, ...bcc].map(({ address }) => [addressKey(address), address]));
  if (byKey.size > mostRecipients)
    throw new ExpressionError(`${byKey.size} recipients are more than ${mostRecipients}`, 'to');
  return { to, cc, bcc, recipients: [...byKey.values()] };
}

function hostOf({ host, port }: Exclude<EmailDestination['smtp'], string>): string {
  return port === null ? host : `${host}:${port}`;
}

/** Not the user: it is often the sender's address, and a refusal that names it must stay readable. */
function secretsOf(smtp: EmailDestination['smtp']): string[] {
  if (typeof smtp !== 'string') return smtp.auth === null ? [] : [smtp.auth.pass];
  const url = new URL(smtp);
  url.username = '';
  return secretsOfUrl(url);
}
