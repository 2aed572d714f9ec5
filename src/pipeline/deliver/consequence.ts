import type { Delivery } from '../../domain/delivery.ts';
import type { DeadLetterReason, Outcome } from '../../domain/outcome.ts';
import type { OutcomePolicy, Verdict } from '../../domain/outcome-policy.ts';
import { longestDelayMs, type RetryPolicy, retryDelayMs } from '../../domain/retry.ts';
import type { Action } from '../../domain/rules.ts';
import type { RequestedHold, Settlement } from '../../transport/contract.ts';

/** What is to become of a delivery, and of its destination. */
export type Consequence = Pick<
  Settlement,
  'kind' | 'delayMs' | 'reason' | 'status' | 'errorClass' | 'errorMessage' | 'responseExcerpt'
> & { readonly hold: RequestedHold | null };

/**
 * What follows from an outcome. Pure but for the jitter.
 * @param now in the time of performance.now()
 * @param random in [0, 1), for the jitter
 */
export function consequenceOf(
  outcome: Outcome,
  delivery: Delivery,
  action: Action,
  now: number,
  random?: () => number,
): Consequence {
  const { outcomes, retry, destination } = action;
  const verdict = verdictOf(outcome, outcomes);
  const { status, responseExcerpt } = outcome;
  if (verdict === 'success') {
    const hold = outcome.request === 'disable' ? disabled(asked) : null;
    return {
      kind: 'delivered',
      delayMs: 0,
      reason: null,
      status,
      errorClass: null,
      errorMessage: null,
      responseExcerpt,
      hold,
    };
  }
  const failure = { ...settled, status, responseExcerpt, ...explained(outcome, outcomes) };
  const retryAfterMs = cappedRetryAfter(outcome, destination.retryAfterMaxMs);
  const pause = pauseOf(outcome, retryAfterMs);
  switch (verdict) {
    // It waits with the rest, however often it was tried: what the destination can't take now is nobody's last attempt.
    case 'disable':
      return { ...failure, kind: 'retry', hold: disabled(outcome.request === null ? failure.errorMessage : asked) };
    case 'reject':
      return { ...failure, kind: 'dead', reason: 'rejected', hold: pause };
    case 'retry': {
      const delayMs = retryDelayMs(retry, delivery.attempts + 1, retryAfterMs, random);
      const end = whyNotAgain(delivery, retry, now + delayMs);
      if (end === null) return { ...failure, kind: 'retry', delayMs, hold: pause };
      const errorMessage = `${failure.errorMessage}${end}`;
      return { ...failure, errorMessage, kind: 'dead', reason: 'exhausted', hold: pause };
    }
  }
}

/** Whether the time in which it may be tried again is over. The first attempt is always made. */
export function isTooOld({ attempts, queuedAt }: Delivery, { maxAgeMs }: RetryPolicy, now: number): boolean {
  return maxAgeMs !== null && attempts > 0 && now - queuedAt > maxAgeMs;
}

export function tooOld({ maxAgeMs }: RetryPolicy): string {
  return `not tried again: it was queued more than ${inWords(maxAgeMs ?? 0)} ago (\`max_age\`)`;
}

/** The receiver's wish goes before the policy, save that what it took is taken. */
function verdictOf(outcome: Outcome, policy: OutcomePolicy): Verdict {
  const verdict = policy.judge(outcome);
  if (verdict === 'success' || outcome.request === null) return verdict;
  return outcome.request === 'disable' ? 'disable' : 'reject';
}

/** A success that the policy calls none has neither class nor message of its own. */
function explained({ errorClass, message, status }: Outcome, { protocol }: OutcomePolicy) {
  if (errorClass !== null) return { errorClass, errorMessage: message ?? errorClass };
  return {
    errorClass: `${protocol ?? 'status'}_${status}`,
    errorMessage: `the receiver answered ${status}, which \`outcomes\` does not count as a success`,
  };
}

function cappedRetryAfter({ retryAfterMs }: Outcome, maxMs: number): number | null {
  return retryAfterMs === null || maxMs === 0 ? null : Math.min(retryAfterMs, maxMs, longestDelayMs);
}

/** Too many requests, and overloaded: these speak of the receiver as a whole, so all that goes there waits. */
function pauseOf({ status }: Outcome, retryAfterMs: number | null): RequestedHold | null {
  const isGeneral = status === 429 || status === 503;
  return isGeneral && retryAfterMs !== null ? { kind: 'paused', forMs: retryAfterMs } : null;
}

function whyNotAgain(delivery: Delivery, retry: RetryPolicy, nextAt: number): string | null {
  if (delivery.attempts + 1 >= retry.attempts) return '';
  const { maxAgeMs } = retry;
  if (maxAgeMs === null || nextAt - delivery.queuedAt <= maxAgeMs) return null;
  return `; not tried again: the next attempt would be more than ${inWords(maxAgeMs)} after it was queued (\`max_age\`)`;
}

const asked = 'the receiver asked for it (webhook-delivery: disable)';
const disabled = (reason: string): RequestedHold => ({ kind: 'disabled', reason });

const settled = {
  delayMs: 0,
  reason: null as DeadLetterReason | null,
  errorClass: null,
  errorMessage: null,
  hold: null,
} as const;

function inWords(ms: number): string {
  for (const [unit, name] of [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'min'],
    [1_000, 's'],
  ] as const) {
    if (ms % unit === 0) return `${ms / unit} ${name}`;
  }
  return `${ms} ms`;
}
