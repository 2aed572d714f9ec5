import type { OutcomePolicy } from '../../domain/outcome-policy.ts';
import type { EmailAction } from '../../domain/rules.ts';
import { describeText } from '../redaction.ts';
import { formatMailbox, type Mailbox } from './addresses.ts';
import type { Attachment } from './attachments.ts';
import type { Progress } from './recipients.ts';

export interface EmailRequest {
  /** `<msg_…@host>`: the same for every repeat, so that a mail system can drop it. */
  readonly messageId: string;
  readonly to: readonly Mailbox[];
  readonly cc: readonly Mailbox[];
  readonly bcc: readonly Mailbox[];
  readonly replyTo: readonly Mailbox[];
  /** Addresses of all three, each once. */
  readonly recipients: readonly string[];
  readonly subject: string;
  readonly text: string | null;
  readonly html: string | null;
  readonly attachments: readonly Attachment[];
  readonly headers: Readonly<Record<string, string>>;
  readonly priority: EmailAction['priority'];
  /** What it says about a recipient who is refused decides whether the mail is sent to that one again. */
  readonly outcomes: OutcomePolicy;
  /** Of one that gathers, at a destination with `digest`; null elsewhere. */
  readonly digest: { readonly key: string; readonly intro: DigestIntro | null } | null;
}

export interface DigestIntro {
  readonly text: string;
  readonly html: string;
}

/** For the dead letter. @param progress of a mail to several */
export function describeMail(request: EmailRequest, progress: Progress | null): Record<string, unknown> {
  const { to, cc, bcc, replyTo, subject, text, html, attachments } = request;
  const list = (mailboxes: readonly Mailbox[]) => mailboxes.map(formatMailbox);
  return {
    to: list(to),
    ...(cc.length > 0 && { cc: list(cc) }),
    ...(bcc.length > 0 && { bcc: list(bcc) }),
    ...(replyTo.length > 0 && { replyTo: list(replyTo) }),
    ...(progress !== null && progress.accepted.length > 0 && { accepted: progress.accepted }),
    subject,
    ...(text !== null && { text: describeText(text) }),
    ...(html !== null && { html: describeText(html) }),
    ...(attachments.length > 0 && {
      attachments: attachments.map(({ filename, content }) => `${filename} (${content.length} bytes)`),
    }),
  };
}
