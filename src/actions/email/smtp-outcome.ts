import type { SMTPPoolSentMessageInfo } from 'nodemailer/lib/smtp-pool';
import type { Failure, Outcome } from '../../domain/outcome.ts';
import { excerptOf } from '../excerpt.ts';
import { networkFault } from '../network-fault.ts';
import { delivered, rejected, retry, unreachable } from '../outcomes.ts';

type Redact = (text: string) => string;

/** What nodemailer puts on its errors. */
interface SmtpError {
  readonly code: string | null;
  readonly command: string | null;
  /** The reply, when the server gave one. */
  readonly response: string | null;
  readonly responseCode: number | null;
}

/** What a server said to a recipient or a mail. */
export interface SmtpReply {
  readonly status: number;
  readonly text: string;
  /** What a policy may call it, the most specific first. */
  readonly names: readonly string[];
}

/** The reply to a recipient. One that nodemailer gives no code to was not understood: it counts as a failure for now. */
export function refusalOf(error: unknown): SmtpReply {
  const { response, responseCode } = readSmtpError(error);
  const status = responseCode ?? 451;
  const text = response ?? String(status);
  return { status, text: excerptOf(text, (same) => same) ?? text, names: namesOf(`smtp_${status}`, response, false) };
}

/** The server took the mail for everybody. */
export function acceptedOutcome({ response = '' }: SMTPPoolSentMessageInfo, redact: Redact): Outcome {
  return delivered(replyCode(response), excerptOf(response, redact));
}

/**
 * A reply goes by its enhanced code (`5.7.8`, `5.7.x`), its class (`smtp_535`), and `auth` when the login was refused. Of
 * several recipients refused, the reply that was only for now stands for all.
 */
export function failedOutcome(error: unknown, host: string, redact: Redact): Outcome {
  const smtp = readSmtpError(error);
  const { responseCode: status, response } = smtp;
  const responseExcerpt = response === null ? null : excerptOf(response, redact);
  // Whatever the server calls it: somebody will turn TLS on, there or here.
  if (smtp.code === 'ETLS' && response !== null) {
    const message = redact(`${host}: no TLS by STARTTLS, which this destination asks for (${response})`);
    return retry({ errorClass: 'tls', message, status: null, responseExcerpt }, { names: ['tls', 'network'] });
  }
  if (status !== null && status >= 400) {
    const message = `${host} refused with ${redact(response ?? String(status))}${smtp.command === null ? '' : ` (to ${smtp.command})`}`;
    const failure: Failure = { errorClass: `smtp_${status}`, message, status, responseExcerpt };
    return retry(failure, { names: namesOf(failure.errorClass, response, smtp.code === 'EAUTH') });
  }
  const failure = { message: redact(`${host}: ${messageOf(error)}`), status, responseExcerpt };
  switch (smtp.code) {
    case 'EAUTH':
    case 'ENOAUTH':
    case 'EOAUTH2':
      return retry({ errorClass: 'auth', ...failure });
    case 'EENVELOPE':
    case 'EMESSAGE':
      return rejected({ errorClass: 'invalid_message', ...failure });
    case 'EPROTOCOL':
      return retry({ errorClass: 'protocol', ...failure }, { names: ['protocol', 'network'] });
    default:
      return unreachable(host, networkFault(error), status, responseExcerpt);
  }
}

function namesOf(errorClass: string, response: string | null, isLogin: boolean): string[] {
  const [, subject, detail] = /^\d{3}[ -]([245]\.\d{1,3})\.(\d{1,3})\b/.exec(response ?? '') ?? [];
  const login = isLogin ? ['auth'] : [];
  if (subject === undefined) return [errorClass, ...login];
  return [`${subject}.${detail}`, errorClass, ...login, `${subject}.x`];
}

function readSmtpError(error: unknown): SmtpError {
  const { code, command, response, responseCode } = (error ?? {}) as Record<string, unknown>;
  return {
    code: typeof code === 'string' ? code : null,
    command: typeof command === 'string' ? command : null,
    response: typeof response === 'string' ? response : null,
    responseCode: typeof responseCode === 'number' ? responseCode : null,
  };
}

function replyCode(response: string): number | null {
  const code = /^\d{3}/.exec(response);
  return code === null ? null : Number(code[0]);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
