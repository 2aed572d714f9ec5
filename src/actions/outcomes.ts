import type { Failure, Outcome } from '../domain/outcome.ts';
import type { AttemptContext } from './contract.ts';
import type { NetworkFault } from './network-fault.ts';

/** The attempt reached its deadline. `status` and `responseExcerpt`: what had arrived by then. */
export function timedOut(
  host: string,
  { timeoutMs }: AttemptContext,
  status: number | null = null,
  responseExcerpt: string | null = null,
): Outcome {
  const what = status === null ? 'no answer' : `status ${status} but no complete answer`;
  const message = `${what} from ${host} within ${formatDuration(timeoutMs)}`;
  return unanswered({ errorClass: 'timeout', message, status, responseExcerpt });
}

/** The connection failed; worth another try, whatever the fault: names come back, certificates are renewed. */
export function unreachable(
  host: string,
  { errorClass, reason }: NetworkFault,
  status: number | null = null,
  responseExcerpt: string | null = null,
): Outcome {
  const what = status === null ? `no answer from ${host}` : `incomplete answer with status ${status} from ${host}`;
  return unanswered({ errorClass, message: `${what}: ${reason}`, status, responseExcerpt });
}

/** A fault of this program, made an outcome because `send` never throws; it would not go away by itself. */
export function internalFault(host: string, error: unknown, redact: (text: string) => string): Outcome {
  const reason = error instanceof Error ? error.message : String(error);
  const message = redact(`could not send to ${host}: ${reason}`);
  return rejected({ errorClass: 'internal', message, status: null, responseExcerpt: null });
}

/** The receiver took it. Written out: spreading an object costs several times as much, and most outcomes are this one. */
export function delivered(
  status: number | null,
  responseExcerpt: string | null,
  request: Outcome['request'] = null,
): Outcome {
  return {
    status,
    responseExcerpt,
    errorClass: null,
    names: none,
    message: null,
    fallback: 'retry',
    retryAfterMs: null,
    request,
  };
}

/** A failure that may get better by itself, unless the policy names it. */
export function retry(failure: Failure, more: Partial<Outcome> = {}): Outcome {
  return { ...taken, names: [failure.errorClass], ...failure, ...more };
}

/** A failure that will not get better by itself, unless the policy names it. */
export function rejected(failure: Failure, more: Partial<Outcome> = {}): Outcome {
  return { ...taken, names: [failure.errorClass], fallback: 'reject', ...failure, ...more };
}

function unanswered(failure: Failure): Outcome {
  return retry(failure, { names: [failure.errorClass, 'network'] });
}

const none: readonly string[] = [];

const taken: Outcome = {
  status: null,
  responseExcerpt: null,
  errorClass: null,
  names: none,
  message: null,
  fallback: 'retry',
  retryAfterMs: null,
  request: null,
};

function formatDuration(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${ms / 1000} s`;
}
