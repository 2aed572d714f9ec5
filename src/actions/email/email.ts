import { createTransport } from 'nodemailer';
import { ExpressionError, type Scope, type Template } from '../../domain/expression.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { EmailAction, EmailDestination } from '../../domain/rules.ts';
import type { ActionType, AttemptContext, DestinationClient } from '../contract.ts';
import { timedOut } from '../outcomes.ts';
import { createRedactor, describeText, secretsOfUrl } from '../redaction.ts';
import { formatMailbox, hostOf, type Mailbox, renderMailboxes } from './addresses.ts';
import { acceptedOutcome, failedOutcome } from './smtp-outcome.ts';

export interface EmailRequest {
  /** `<msg_…@host>`: the same for every repeat, so that a mail system can drop it. */
  readonly messageId: string;
  readonly eventUid: string;
  readonly to: readonly Mailbox[];
  readonly cc: readonly Mailbox[];
  readonly bcc: readonly Mailbox[];
  readonly replyTo: readonly Mailbox[];
  readonly subject: string;
  readonly text: string | null;
  readonly html: string | null;
}

/** A mail over SMTP. */
export const email: ActionType<EmailDestination, EmailAction, EmailRequest> = {
  kind: 'email',
  open: (destination) => new EmailClient(destination),
};

/** The attempt has its deadline; this only ends waits that no attempt stands behind. */
const backstopMs = 600_000;

class EmailClient implements DestinationClient<EmailAction, EmailRequest> {
  readonly #from: string;
  readonly #server: string;
  readonly #host: string;
  readonly #messageIdHost: string;
  readonly #redact: (text: string) => string;
  readonly #transport: ReturnType<typeof openTransport>;
  #closing: Promise<void> | null = null;

  constructor(destination: EmailDestination) {
    const url = new URL(destination.smtp);
    this.#from = destination.from;
    this.#host = url.host;
    this.#server = `${url.protocol}//${url.host}`;
    this.#messageIdHost = hostOf(destination.from);
    // Not the user: it is often the sender's address, and a refusal that names it must stay readable.
    url.username = '';
    this.#redact = createRedactor(secretsOfUrl(url));
    this.#transport = openTransport(destination);
  }

  render(action: EmailAction, scope: Scope, messageId: string): EmailRequest {
    const to = renderMailboxes('to', action.to, scope);
    if (to.length === 0) throw new ExpressionError('to: there is no recipient', 'to');
    const text = (template: Template | null) => template?.renderText(scope) ?? null;
    return {
      messageId: `<${messageId}@${this.#messageIdHost}>`,
      eventUid: scope.record.uid,
      to,
      cc: renderMailboxes('cc', action.cc, scope),
      bcc: renderMailboxes('bcc', action.bcc, scope),
      replyTo: renderMailboxes('reply_to', action.replyTo, scope),
      subject: action.subject.renderText(scope),
      text: text(action.text),
      html: text(action.html),
    };
  }

  async send(request: EmailRequest, attempt: AttemptContext): Promise<Outcome> {
    if (attempt.deadline.passed) return timedOut(this.#host, attempt);
    try {
      const info = await this.#transport.sendMail(this.#toMail(request, attempt.deadline.signal));
      return acceptedOutcome(info, this.#redact);
    } catch (error) {
      return attempt.deadline.passed ? timedOut(this.#host, attempt) : failedOutcome(error, this.#host, this.#redact);
    }
  }

  describe({ to, cc, bcc, replyTo, ...request }: EmailRequest): unknown {
    const list = (mailboxes: readonly Mailbox[]) => mailboxes.map(formatMailbox);
    return {
      server: this.#server,
      messageId: request.messageId,
      from: this.#from,
      to: list(to),
      ...(cc.length > 0 && { cc: list(cc) }),
      ...(bcc.length > 0 && { bcc: list(bcc) }),
      ...(replyTo.length > 0 && { replyTo: list(replyTo) }),
      subject: request.subject,
      ...(request.text !== null && { text: describeText(request.text) }),
      ...(request.html !== null && { html: describeText(request.html) }),
    };
  }

  /** Mails in flight finish first (each has its deadline); the pool closes their connections after them. */
  close(): Promise<void> {
    this.#closing ??= Promise.resolve(this.#transport.close());
    return this.#closing;
  }

  #toMail(request: EmailRequest, signal: AbortSignal) {
    return {
      from: this.#from,
      to: [...request.to],
      cc: [...request.cc],
      bcc: [...request.bcc],
      replyTo: [...request.replyTo],
      subject: request.subject,
      text: request.text ?? undefined,
      html: request.html ?? undefined,
      messageId: request.messageId,
      headers: {
        'X-PG-Observers-Event': request.eventUid,
        // RFC 3834: keeps out-of-office replies away.
        'Auto-Submitted': 'auto-generated',
      },
      // The pool takes a mail whose signal aborts out of its queue, or closes the connection that is sending it.
      signal,
    };
  }
}

function openTransport(destination: EmailDestination) {
  const transport = createTransport({
    pool: true,
    url: destination.smtp,
    maxConnections: destination.concurrency,
    // Once, for an idle connection that the server has closed meanwhile. Further tries are the retry policy's.
    maxRequeues: 1,
    // A connection cut at a deadline is gone at once; the default says FIN and waits 5 s for the server's.
    socketCloseTimeout: 0,
    connectionTimeout: backstopMs,
    greetingTimeout: backstopMs,
    socketTimeout: backstopMs,
    dnsTimeout: backstopMs,
    // Subject, text and addresses come from data: none of it may name a file or URL to read.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  // An `error` without a listener would end the process; what failed is reported by the mail it failed for.
  transport.on('error', () => {});
  return transport;
}
