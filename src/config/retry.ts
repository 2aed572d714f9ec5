import type { RetryPolicy } from '../domain/retry.ts';
import type { Field } from './field.ts';
import { formatDuration } from './units.ts';

export const builtInRetry: RetryPolicy = Object.freeze({
  attempts: 8,
  initialMs: 1_000,
  factor: 2,
  maxMs: 300_000,
  jitter: 'full',
  schedule: null,
  maxAgeMs: null,
});

const day = 86_400_000;
const year = 365 * day;
const mostDelays = 99;

/** Delays that grow, as a mapping; or one by one, as a list or under `schedule`. */
export function readRetry(field: Field, inherited: RetryPolicy): RetryPolicy {
  if (!field.present) return inherited;
  if (Array.isArray(field.value)) return scheduled(field, 'none', inherited.maxAgeMs);
  const maxAgeMs = field.get('max_age').duration(1_000, year) ?? inherited.maxAgeMs;
  const jitter = field.get('jitter').text() as RetryPolicy['jitter'] | undefined;
  const schedule = field.get('schedule');
  if (!schedule.present) return growing(field, inherited, jitter, maxAgeMs);
  for (const key of growthKeys) {
    const other = field.get(key);
    if (other.present) other.refuseKey(`\`${key}\` and \`schedule\` exclude each other`, 'keep one of them');
  }
  return scheduled(schedule, jitter ?? 'none', maxAgeMs);
}

const growthKeys = ['attempts', 'initial', 'factor', 'max'] as const;

/** Over a schedule that is inherited, any key of growth begins anew: a schedule has none of them to go on from. */
function growing(
  field: Field,
  inherited: RetryPolicy,
  jitter: RetryPolicy['jitter'] | undefined,
  maxAgeMs: number | null,
): RetryPolicy {
  const replaces = inherited.schedule !== null && growthKeys.some((key) => field.get(key).present);
  const base = replaces ? builtInRetry : inherited;
  const initialMs = field.get('initial').duration(1, day);
  const maxMs = field.get('max').duration(1, day);
  if (initialMs !== undefined && maxMs !== undefined && initialMs > maxMs) {
    field.get('max').refuse(`\`max\` is shorter than \`initial\` (${formatted(field.get('initial'), initialMs)})`);
  }
  return Object.freeze({
    attempts: field.get('attempts').number() ?? base.attempts,
    initialMs: initialMs ?? base.initialMs,
    factor: field.get('factor').number() ?? base.factor,
    maxMs: maxMs ?? base.maxMs,
    jitter: jitter ?? base.jitter,
    schedule: base.schedule,
    maxAgeMs,
  });
}

function scheduled(field: Field, jitter: RetryPolicy['jitter'], maxAgeMs: number | null): RetryPolicy {
  const items = Array.isArray(field.value) ? field.items() : [];
  if (items.length === 0) field.refuse(`\`${field.label}\` is empty`, 'list the delays, such as [5s, 5m, 30m, 2h]');
  if (items.length > mostDelays) field.refuse(`\`${field.label}\` has more than ${mostDelays} delays`);
  const schedule = items.flatMap((item) => item.duration(1, day) ?? []);
  return Object.freeze({
    ...builtInRetry,
    attempts: schedule.length + 1,
    jitter,
    schedule: Object.freeze(schedule),
    maxAgeMs,
  });
}

/** As written when a variable holds it. */
export function formatted(field: Field, ms: number): string {
  return field.substitutions.length > 0 ? String(field.written) : formatDuration(ms);
}
