import { longestDelayMs } from '../../domain/retry.ts';

/**
 * What a Retry-After header asks for, in milliseconds: an integer in (0, longestDelayMs], or null when it asks for nothing
 * that makes sense. Both forms of RFC 9110 §10.2.3, delay in seconds and HTTP date; beyond the RFC, fractions of a second,
 * which several services send. Negative, past, `1e30`, empty and garbage values are no wish at all.
 *
 * @param now milliseconds since 1970
 */
export function parseRetryAfter(value: string | undefined, now: number = Date.now()): number | null {
  const text = value?.trim() ?? '';
  if (/^\d+(\.\d+)?$/.test(text)) return cap(Number(text) * 1000);
  // Date.parse alone takes far too much ("1e30", "-5", "5 apples"): only its three HTTP forms begin with a weekday.
  if (!/^(mon|tue|wed|thu|fri|sat|sun)/i.test(text)) return null;
  // asctime, the oldest form, has no zone and means UTC.
  const date = Date.parse(/gmt|utc/i.test(text) ? text : `${text} GMT`);
  return Number.isNaN(date) ? null : cap(date - now);
}

function cap(ms: number): number | null {
  return ms > 0 ? Math.ceil(Math.min(ms, longestDelayMs)) : null;
}
