import { STATUS_CODES } from 'node:http';
import type { Failure, Outcome } from '../../domain/outcome.ts';
import type { AttemptContext } from '../contract.ts';
import { excerptOf } from '../excerpt.ts';
import { networkFault } from '../network-fault.ts';
import { delivered, rejected, retry, timedOut, unreachable } from '../outcomes.ts';
import { AddressRefused } from './address-guard.ts';
import type { HttpReply } from './exchange.ts';
import { parseRetryAfter } from './retry-after.ts';

/**
 * What an HTTP reply is; what follows from its status, the outcome policy says.
 *
 * A failing status speaks for itself, whatever becomes of its body. A 2xx counts only with its whole body: one that hangs
 * or breaks off may come from a proxy that lost the receiver, and the stable `webhook-id` makes a repeat cheap, while a
 * lost event can't be had back.
 *
 * 3xx are never followed: that would hand signed data to an address nobody declared.
 */
export function httpOutcome(
  reply: HttpReply,
  host: string,
  attempt: AttemptContext,
  redact: (text: string) => string,
): Outcome {
  const { status, end } = reply;
  const responseExcerpt = excerptOf(reply.body, redact);
  if (status === null || status < 300) {
    if (end === 'timed-out') return timedOut(host, attempt, status, responseExcerpt);
    if (end === 'failed') return connectionFailed(reply, host, responseExcerpt);
    return delivered(status, responseExcerpt, requestOf(reply));
  }
  const failure: Failure = { errorClass: `http_${status}`, message: refusal(host, status), status, responseExcerpt };
  return retry(failure, { retryAfterMs: retryAfterOf(reply), request: requestOf(reply) });
}

function connectionFailed({ status, error }: HttpReply, host: string, responseExcerpt: string | null): Outcome {
  if (error instanceof AddressRefused) {
    const message = `not connected to ${host}: ${error.message}`;
    return rejected({ errorClass: 'address_refused', message, status: null, responseExcerpt: null });
  }
  if (isInvalidRequest(error)) {
    const message = `the request to ${host} is not valid HTTP: ${error.message}`;
    return rejected({ errorClass: 'invalid_request', message, status: null, responseExcerpt: null });
  }
  return unreachable(host, networkFault(error), status, responseExcerpt);
}

/** undici refuses some header values; trying again would not change them. Its message names the header, not the value. */
function isInvalidRequest(error: Error | null): error is Error {
  return error !== null && 'code' in error && error.code === 'UND_ERR_INVALID_ARG';
}

function refusal(host: string, status: number): string {
  const reason = STATUS_CODES[status];
  const answer = `${host} answered ${status}${reason === undefined ? '' : ` ${reason}`}`;
  return status < 400 ? `${answer}; redirects are not followed, correct the URL` : answer;
}

export function retryAfterOf({ headers }: HttpReply): number | null {
  const value = headers['retry-after'];
  return parseRetryAfter(Array.isArray(value) ? value[0] : value);
}

/** The response header that Standard Webhooks proposes for it. */
function requestOf({ headers }: HttpReply): Outcome['request'] {
  const value = headers['webhook-delivery'];
  if (value === undefined) return null;
  const wish = String(value).trim().toLowerCase();
  return wish === 'disable' ? 'disable' : wish === 'abort-message' ? 'abort' : null;
}
