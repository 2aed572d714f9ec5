import type { CustomOutcome } from '../../domain/custom-action.ts';
import type { Failure, Outcome } from '../../domain/outcome.ts';
import { excerptOf } from '../excerpt.ts';
import { networkFault } from '../network-fault.ts';
import { delivered, rejected, retry } from '../outcomes.ts';

type Redact = (text: string) => string;

const classForm = /^[a-z][a-z0-9_]{0,50}$/;

/** What a module's `send` answered. An answer that is none is its mistake, and a corrected module may still deliver. */
export function customOutcome(answer: unknown, path: string, redact: Redact): Outcome {
  const { outcome, status, response, ...rest } = (answer ?? {}) as Partial<CustomOutcome>;
  const reply = {
    status: typeof status === 'number' && Number.isInteger(status) ? status : null,
    responseExcerpt: typeof response === 'string' ? excerptOf(response, redact) : null,
  };
  if (outcome === 'delivered') return delivered(successOf(reply.status), reply.responseExcerpt);
  const { message, errorClass, retryAfterMs } = rest as {
    message?: unknown;
    errorClass?: unknown;
    retryAfterMs?: unknown;
  };
  const failure: Failure = {
    errorClass: classOf(errorClass, `module_${outcome ?? 'answer'}`),
    message: redact(typeof message === 'string' && message !== '' ? message : `${path} gave no reason`),
    ...reply,
  };
  // By its own name a policy may say otherwise.
  if (outcome === 'rejected') return rejected(failure, { names: [failure.errorClass, 'module_rejected'] });
  if (outcome === 'retry') return asRetry(failure, retryAfterMs);
  const said = `send() of ${path} answered without an outcome (delivered, retry or rejected)`;
  return retry({ ...failure, errorClass: 'module_answer', message: said });
}

function asRetry(failure: Failure, retryAfterMs: unknown): Outcome {
  const asked = typeof retryAfterMs === 'number' && retryAfterMs > 0 ? retryAfterMs : null;
  return retry(failure, { names: [failure.errorClass, 'module_retry'], retryAfterMs: asked });
}

/** One prefix for all of them, so that none passes for one of ours. */
function classOf(errorClass: unknown, otherwise: string): string {
  if (typeof errorClass !== 'string' || !classForm.test(errorClass)) return otherwise;
  return errorClass.startsWith('module_') ? errorClass : `module_${errorClass}`;
}

/** What was delivered has a status of success, or none that means anything to us. */
const successOf = (status: number | null) => (status !== null && status >= 200 && status <= 299 ? status : null);

/** What `send` threw: most often its connection. */
export function thrownOutcome(error: unknown, path: string, redact: Redact): Outcome {
  const fault = networkFault(error);
  const known = fault.errorClass !== 'network';
  const reason = messagesOf(error).join(': ') || 'it threw nothing';
  return retry({
    errorClass: known ? fault.errorClass : 'module_error',
    message: redact(`send() of ${path}: ${known ? `${fault.reason} (${reason})` : reason}`),
    status: null,
    responseExcerpt: null,
  });
}

/** `fetch failed` says nothing, its cause does. */
function messagesOf(error: unknown, depth = 0): string[] {
  if (!(error instanceof Error)) return error === undefined || error === null ? [] : [String(error)];
  const own = error.message === '' ? error.name : error.message;
  return [own, ...(depth < 3 && error.cause !== undefined ? messagesOf(error.cause, depth + 1) : [])];
}
