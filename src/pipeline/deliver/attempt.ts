import type { DestinationClient } from '../../actions/contract.ts';
import { messageId } from '../../domain/delivery.ts';
import type { EventRecord } from '../../domain/event.ts';
import { ExpressionError } from '../../domain/expression.ts';
import type { Outcome } from '../../domain/outcome.ts';
import { retryDelayMs } from '../../domain/retry.ts';
import type { Action } from '../../domain/rules.ts';
import { createScope } from '../../expression/index.ts';
import type { ClaimedDelivery, Settlement } from '../../transport/contract.ts';
import type { Cancellation } from './cancellation.ts';

/** One attempt: render, send, and say what is to become of the delivery. Never throws. */
export async function attempt(
  { delivery }: ClaimedDelivery,
  event: EventRecord,
  action: Action,
  client: DestinationClient,
  cancellation: Cancellation,
): Promise<Settlement | 'cancelled'> {
  const startedAt = Date.now();
  const started = performance.now();
  const seen = { delivery, startedAt, keepAttempt: true };
  let request: unknown;
  try {
    request = client.render(action, createScope(event), messageId(event.uid, delivery.observer, delivery.action));
  } catch (error) {
    return { ...seen, ...fault(error), durationMs: performance.now() - started };
  }
  const outcome = await send(client, request, action.timeoutMs, delivery.attempts + 1, cancellation);
  // A shutdown cut it off: not the receiver's failure, so it costs no attempt.
  if (outcome.kind !== 'delivered' && cancellation.cancelled) return 'cancelled';
  const verdict = judge(outcome, action, delivery.attempts + 1);
  const described = verdict.kind === 'dead' ? client.describe(request) : undefined;
  return { ...seen, ...verdict, ...reply(outcome), durationMs: performance.now() - started, request: described };
}

async function send(
  client: DestinationClient,
  request: unknown,
  timeoutMs: number,
  number: number,
  cancellation: Cancellation,
): Promise<Outcome> {
  const deadline = new AbortController();
  // Not AbortSignal.timeout: it costs a tenth to a third of the throughput.
  const timer = setTimeout(() => deadline.abort(), timeoutMs);
  cancellation.add(deadline);
  try {
    return await client.send(request, { signal: deadline.signal, timeoutMs, number });
  } catch (error) {
    // The contract says it never throws; if it does, the delivery must not vanish with it.
    const message = error instanceof Error ? error.message : String(error);
    return { kind: 'retry', errorClass: 'internal', message, status: null, responseExcerpt: null, retryAfterMs: null };
  } finally {
    clearTimeout(timer);
    cancellation.delete(deadline);
  }
}

function judge(outcome: Outcome, action: Action, made: number): Pick<Settlement, 'kind' | 'reason' | 'delayMs'> {
  switch (outcome.kind) {
    case 'delivered':
      return { kind: 'delivered', reason: null, delayMs: 0 };
    case 'rejected':
      return { kind: 'dead', reason: 'rejected', delayMs: 0 };
    case 'retry':
      return made >= action.retry.attempts
        ? { kind: 'dead', reason: 'exhausted', delayMs: 0 }
        : { kind: 'retry', reason: null, delayMs: retryDelayMs(action.retry, made, outcome.retryAfterMs) };
  }
}

function reply(outcome: Outcome): Pick<Settlement, 'status' | 'errorClass' | 'errorMessage' | 'responseExcerpt'> {
  const failed = outcome.kind !== 'delivered';
  return {
    status: outcome.status,
    responseExcerpt: outcome.responseExcerpt,
    errorClass: failed ? outcome.errorClass : null,
    errorMessage: failed ? outcome.message : null,
  };
}

/** What can't be rendered can't be sent, now or later. */
function fault(error: unknown): Omit<Settlement, 'delivery' | 'startedAt' | 'durationMs' | 'keepAttempt'> {
  const message = error instanceof Error ? error.message : String(error);
  const where = error instanceof ExpressionError ? ` in ${JSON.stringify(error.expression)}` : '';
  return {
    kind: 'dead',
    reason: 'engine_fault',
    delayMs: 0,
    status: null,
    errorClass: 'template',
    errorMessage: `${message}${where}`,
    responseExcerpt: null,
    request: undefined,
  };
}
