/**
 * What became of one attempt: facts, as the action type met with them. What follows from them (history, retry, dead
 * letter, a disabled destination) the outcome policy decides, for all action types in one place.
 */
export interface Outcome {
  /** HTTP status, SMTP reply code; null when there was no reply. */
  readonly status: number | null;
  /** The beginning of what the receiver answered, at most 2 KiB of valid UTF-8. */
  readonly responseExcerpt: string | null;
  /**
   * null: the receiver took it, as far as its protocol says. Else stable, for filters, counts and policies: `timeout`,
   * `connection_refused`, `dns`, `tls`, `http_503`, `smtp_451`, `slack_channel_not_found`, …
   */
  readonly errorClass: string | null;
  /** What a policy may call the failure, the most specific first, `errorClass` among them: `5.7.8`, `smtp_535`, `auth`. */
  readonly names: readonly string[];
  /** For people; never holds a secret. Set with `errorClass`. */
  readonly message: string | null;
  /** What becomes of it when no policy names it: whether it may get better by itself. */
  readonly fallback: 'retry' | 'reject';
  /** The receiver asked for at least this delay (Retry-After), milliseconds; null when it did not. */
  readonly retryAfterMs: number | null;
  /** What the receiver asked for beyond this attempt (`webhook-delivery`): no more of this message, or of any. */
  readonly request: 'abort' | 'disable' | null;
  /**
   * What later attempts are to know, as a JSON value under the request's `NoteKey`; null: what is noted there is void. Absent:
   * it stays as it is.
   */
  readonly note?: unknown;
  /** Of a request that holds several: what became of single ones instead, by position. Absent: the same for all. */
  readonly failedItems?: ReadonlyMap<number, Outcome>;
}

/** The facts of a failure that are always there. */
export interface Failure {
  readonly errorClass: string;
  readonly message: string;
  readonly status: number | null;
  readonly responseExcerpt: string | null;
}

/**
 * Why something is a dead letter.
 * - `exhausted`: the last permitted attempt failed, or `max_age` is over
 * - `rejected`: the receiver refused for good (e.g. HTTP 400)
 * - `engine_fault`: a condition or template could not be evaluated
 * - `loop`: `sql` actions that cause one another's events had gone round too often
 * - `rule_removed`: the observer, action or destination is no longer in the file
 * - `over_quota`: its tenant had as many deliveries waiting as it may (`settings.tenants.max_pending`)
 */
export type DeadLetterReason = 'exhausted' | 'rejected' | 'engine_fault' | 'loop' | 'rule_removed' | 'over_quota';
