/** When a failed delivery is tried again: exponential backoff with jitter, or delays one by one. */
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
  /** The delays after the first, the second, … failed attempt, in place of the growing ones; milliseconds. One less than `attempts`. */
  readonly schedule: readonly number[] | null;
  /** A delivery that was queued longer ago is not tried again, milliseconds; null: however old it is. */
  readonly maxAgeMs: number | null;
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
  const delay = Math.min(plannedMs(policy, Math.max(1, attempt)), longestDelayMs);
  const jittered = policy.jitter === 'full' ? random() * delay : delay;
  const asked = retryAfterMs === null || !(retryAfterMs > 0) ? 0 : Math.min(retryAfterMs, longestDelayMs);
  return Math.round(Math.max(jittered, asked));
}

function plannedMs({ schedule, initialMs, factor, maxMs }: RetryPolicy, attempt: number): number {
  // After the last of a schedule: an attempt more than planned was made, on a destination that was enabled again.
  if (schedule !== null) return schedule[attempt - 1] ?? schedule.at(-1) ?? 0;
  // factor ** 2000 is Infinity, and Math.min takes that in its stride: no overflow to guard against.
  return Math.min(initialMs * factor ** (attempt - 1), maxMs);
}
