/**
 * What became of one attempt. One union decides everything that follows (history, retry, dead letter), in one place;
 * a ladder of error classes would decide it in many.
 */
export type Outcome = Delivered | Retryable | Rejected;

interface Reply {
  /** HTTP status, SMTP reply code; null when there was no reply. */
  readonly status: number | null;
  /** The beginning of what the receiver answered, at most 2 KiB of valid UTF-8. */
  readonly responseExcerpt: string | null;
  /**
   * What later attempts are to know, as a JSON value under the request's `NoteKey`; null: what is noted there is void. Absent:
   * it stays as it is.
   */
  readonly note?: unknown;
}

export interface Delivered extends Reply {
  readonly kind: 'delivered';
}

export interface Failure extends Reply {
  /** Stable, for filters and counts: `timeout`, `connection_refused`, `dns`, `tls`, `http_503`, `smtp_451`, `slack_channel_not_found`, … */
  readonly errorClass: string;
  /** For people; never holds a secret. */
  readonly message: string;
}

/** Worth trying again. */
export interface Retryable extends Failure {
  readonly kind: 'retry';
  /** The receiver asked for at least this delay (Retry-After); null when it did not. */
  readonly retryAfterMs: number | null;
}

/** Will not get better by trying again: straight to the dead letters. */
export interface Rejected extends Failure {
  readonly kind: 'rejected';
}

/**
 * Why something is a dead letter.
 * - `exhausted`: the last permitted attempt failed
 * - `rejected`: the receiver refused for good (e.g. HTTP 400)
 * - `engine_fault`: a condition or template could not be evaluated
 * - `rule_removed`: the observer, action or destination is no longer in the file
 */
export type DeadLetterReason = 'exhausted' | 'rejected' | 'engine_fault' | 'rule_removed';
