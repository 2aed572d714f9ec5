import type { Failure, Outcome } from '../../domain/outcome.ts';
import type { AttemptContext } from '../contract.ts';
import { excerptOf } from '../excerpt.ts';
import type { HttpReply } from '../http/exchange.ts';
import { httpOutcome, retryAfterOf } from '../http/http-outcome.ts';
import { delivered, rejected, retry } from '../outcomes.ts';

const codeForm = /^[a-z][a-z0-9_]{1,63}$/;

/**
 * What Slack's answer is: an error code where there is one (`errorClass` `slack_<code>`), otherwise what HTTP says.
 *
 * @param code of `{ok: false, error: code}`, or the text that an incoming webhook answers with; null for success
 */
export function slackOutcome(
  reply: HttpReply,
  code: string | null,
  host: string,
  attempt: AttemptContext,
  redact: (text: string) => string,
): Outcome {
  const { status } = reply;
  if (reply.end !== 'complete' || code === null || status === null || status === 429) {
    return httpOutcome(reply, host, attempt, redact);
  }
  const responseExcerpt = excerptOf(reply.body, redact);
  if (!codeForm.test(code)) {
    // Not Slack's answer: a proxy's page, say. With a failing status HTTP decides; a 200 must not pass as delivered.
    if (status >= 300) return httpOutcome(reply, host, attempt, redact);
    const message = `${host} answered ${status} but not as Slack does`;
    return retry({ errorClass: 'slack_invalid_response', message, status, responseExcerpt });
  }
  const failure: Failure = {
    errorClass: `slack_${code}`,
    message: `${host} refused: ${code}`,
    status,
    responseExcerpt,
  };
  return rejected(failure, { retryAfterMs: retryAfterOf(reply) });
}

/** An incoming webhook's codes all have several words: `no_text`; one word is some proxy's "down". */
const incomingCodeForm = /^[a-z0-9]+(_[a-z0-9]+)+$/;

/** An incoming webhook answers `ok`, or an error code as plain text. */
export function incomingWebhookOutcome(
  reply: HttpReply,
  host: string,
  attempt: AttemptContext,
  redact: (text: string) => string,
): Outcome {
  const text = reply.body.toString('utf8').trim();
  if (reply.status === 200 && text === 'ok' && reply.end === 'complete') {
    return delivered(200, excerptOf(reply.body, redact));
  }
  return slackOutcome(reply, incomingCodeForm.test(text) ? text : '', host, attempt, redact);
}

/** The first message of a key is deleted, or can't be followed any more. */
const goneCodes: ReadonlySet<string> = new Set([
  'slack_message_not_found',
  'slack_thread_not_found',
  'slack_cannot_reply_to_message',
  'slack_cant_update_message',
  'slack_edit_window_closed',
]);

/** What this message was to follow is gone: its note is void, and the next attempt begins anew. */
export function withoutGone(outcome: Outcome): Outcome {
  if (outcome.errorClass === null || !goneCodes.has(outcome.errorClass)) return outcome;
  return { ...outcome, fallback: 'retry', note: null };
}
