import type { SMTPPoolSentMessageInfo } from 'nodemailer/lib/smtp-pool';
import type { Outcome } from '../../domain/outcome.ts';
import type { OutcomePolicy } from '../../domain/outcome-policy.ts';
import { delivered, retry } from '../outcomes.ts';
import { addressKey } from './addresses.ts';
import { refusalOf, type SmtpReply } from './smtp-outcome.ts';

/*
 * A server may take a mail for some recipients and refuse it for others. Who has it must not get it again, and who was refused
 * must not be forgotten: so a mail to several keeps a note of its own. An attempt goes to those who are left; while somebody is
 * left whom the policy tries again, the delivery is retried; when only refusals for good are left, it is a dead letter that says
 * whom it is about, and its replay goes to them alone.
 */

/** The note of a mail to several. */
export interface Progress {
  /** Who has it. Keys of addresses. */
  readonly accepted: readonly string[];
  /** Who was refused for good, and how. */
  readonly refused: readonly Refusal[];
}

export interface Refusal {
  readonly address: string;
  readonly reply: SmtpReply;
}

const nothing: Progress = { accepted: [], refused: [] };

/** @param number of the attempt: the first one of a replay tries those again who were refused for good */
export function readProgress(note: unknown, number: number): Progress {
  const { accepted, refused } = (note ?? {}) as Partial<Record<keyof Progress, unknown>>;
  // Written by ourselves, or by a later version: what can't be read must not keep the mail back.
  if (!Array.isArray(accepted) || !Array.isArray(refused)) return nothing;
  return { accepted, refused: number === 1 ? [] : refused };
}

/** Whom an attempt is to reach. */
export function leftOf(recipients: readonly string[], { accepted, refused }: Progress): string[] {
  const done = new Set([...accepted, ...refused.map(({ address }) => addressKey(address))]);
  return recipients.filter((address) => !done.has(addressKey(address)));
}

/** What the server said about each recipient, of an answer or of an error; null when it is about the mail as a whole. */
export function refusalsOf(result: unknown): Refusal[] | null {
  const { rejected, rejectedErrors } = (result ?? {}) as Partial<SMTPPoolSentMessageInfo>;
  if (rejectedErrors === undefined || rejected === undefined || rejected.length === 0) return null;
  return rejected.map((address, index) => ({ address: String(address), reply: refusalOf(rejectedErrors[index]) }));
}

export interface Split {
  readonly host: string;
  readonly recipients: readonly string[];
  readonly before: Progress;
  readonly accepted: readonly string[];
  readonly refused: readonly Refusal[];
  readonly policy: OutcomePolicy;
  readonly redact: (text: string) => string;
}

/** What an attempt comes to that some recipients refused. */
export function splitOutcome(split: Split): Outcome {
  const { recipients, before, policy } = split;
  const judged = [...before.refused, ...split.refused].map((refusal) => {
    const outcome = outcomeOf(refusal, split);
    return { refusal, outcome, verdict: policy.judge(outcome) };
  });
  const taken = judged.filter(({ verdict }) => verdict === 'success').map(({ refusal }) => refusal.address);
  const accepted = [...new Set([...before.accepted, ...[...split.accepted, ...taken].map(addressKey)])];
  const failed = judged.filter(({ verdict }) => verdict !== 'success');
  const waiting = failed.filter(({ verdict }) => verdict === 'retry');
  const worst = failed.find(({ verdict }) => verdict === 'disable') ?? waiting[0] ?? failed[0];
  if (worst === undefined) return { ...delivered(250, null), note: null };
  const refused = failed.filter((one) => !waiting.includes(one)).map(({ refusal }) => refusal);
  const note: Progress = { accepted, refused: waiting.length > 0 ? refused : [] };
  const message = messageOf(
    split,
    accepted.length,
    failed.map(({ refusal }) => refusal),
  );
  return { ...worst.outcome, message: recipients.length > 1 ? message : worst.outcome.message, note };
}

function outcomeOf({ reply }: Refusal, { host, redact }: Split): Outcome {
  const { status, text, names } = reply;
  const errorClass = `smtp_${status}`;
  const failure = {
    errorClass,
    message: redact(`${host} refused with ${text}`),
    status,
    responseExcerpt: redact(text),
  };
  return retry(failure, { names });
}

function messageOf({ host, recipients, redact }: Split, accepted: number, failed: readonly Refusal[]): string {
  const who = failed.map(({ address, reply }) => `${address} (${reply.text})`).join(', ');
  const others = accepted === 0 ? '' : `; the other ${accepted} of ${recipients.length} have the mail`;
  return redact(`${host} refused it for ${who}${others}`).slice(0, longestMessage);
}

const longestMessage = 4_000;
