/** Exponential backoff with jitter. */
export interface RetryPolicy {
  /** How many attempts in all, the first one included. 1 … 100. */
  readonly attempts: number;
  /** Delay before the second attempt, milliseconds. */
  readonly initialMs: number;
  /** ≥ 1. */
  readonly factor: number;
  /** Upper bound of a delay, milliseconds. */
  readonly maxMs: number;
  /** `full`: uniform in [0, delay]; `none`: the delay itself. See AWS, "Exponential Backoff And Jitter". */
  readonly jitter: 'full' | 'none';
}

/** No delay is ever longer than a day, whatever the policy or a receiver's Retry-After says. Milliseconds. */
export const longestDelayMs = 86_400_000;

/**
 * The delay after a failed attempt, in milliseconds: an integer in [0, longestDelayMs].
 *
 * @param attempt number of the attempt that failed, from 1
 * @param retryAfterMs what the receiver asked for: it only ever lengthens the delay
 * @param random in [0, 1)
 */
export function retryDelayMs(
  policy: RetryPolicy,
  attempt: number,
  retryAfterMs: number | null = null,
  random: () => number = Math.random,
): number {
  // factor ** 2000 is Infinity, and Math.min takes that in its stride: no overflow to guard against.
  const grown = Math.min(policy.initialMs * policy.factor ** Math.max(0, attempt - 1), policy.maxMs, longestDelayMs);
  const jittered = policy.jitter === 'full' ? random() * grown : grown;
  const asked = retryAfterMs === null || !(retryAfterMs > 0) ? 0 : Math.min(retryAfterMs, longestDelayMs);
  return Math.round(Math.max(jittered, asked));
}
