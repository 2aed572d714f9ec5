import type { RetryPolicy } from '../domain/retry.ts';
import type { CircuitBreakerPolicy, RateLimit } from '../domain/rules.ts';
import type { Field } from './field.ts';
import { formatDuration } from './units.ts';

/** How a destination wants to be treated, with every value settled. */
export interface Delivery {
  readonly timeoutMs: number;
  readonly concurrency: number;
  readonly retry: RetryPolicy;
  readonly rateLimit: RateLimit | null;
  readonly circuitBreaker: CircuitBreakerPolicy | null;
}

export const builtInDelivery: Delivery = Object.freeze({
  timeoutMs: 15_000,
  concurrency: 20,
  retry: Object.freeze({ attempts: 8, initialMs: 1_000, factor: 2, maxMs: 300_000, jitter: 'full' as const }),
  rateLimit: null,
  circuitBreaker: null,
});

const builtInBreaker: CircuitBreakerPolicy = { failureRate: 0.5, minimum: 10, windowMs: 30_000, openForMs: 10_000 };

const second = 1_000;
const minute = 60 * second;
const day = 24 * 60 * minute;

/** What `field` (a destination, or `defaults`) says, over what it inherits. */
export function readDelivery(field: Field, inherited: Delivery): Delivery {
  return Object.freeze({
    timeoutMs: readTimeout(field, inherited.timeoutMs),
    concurrency: field.get('concurrency').number() ?? inherited.concurrency,
    retry: readRetry(field.get('retry'), inherited.retry),
    rateLimit: field.get('rate_limit').rate() ?? inherited.rateLimit,
    circuitBreaker: readBreaker(field.get('circuit_breaker'), inherited.circuitBreaker),
  });
}

export function readTimeout(field: Field, inherited: number): number {
  return field.get('timeout').duration(1, 10 * minute) ?? inherited;
}

export function readRetry(field: Field, inherited: RetryPolicy): RetryPolicy {
  if (!field.present) return inherited;
  const initialMs = field.get('initial').duration(1, day);
  const maxMs = field.get('max').duration(1, day);
  if (initialMs !== undefined && maxMs !== undefined && initialMs > maxMs) {
    field.get('max').refuse(`\`max\` is shorter than \`initial\` (${formatted(field.get('initial'), initialMs)})`);
  }
  return Object.freeze({
    attempts: field.get('attempts').number() ?? inherited.attempts,
    initialMs: initialMs ?? inherited.initialMs,
    factor: field.get('factor').number() ?? inherited.factor,
    maxMs: maxMs ?? inherited.maxMs,
    jitter: (field.get('jitter').text() as RetryPolicy['jitter'] | undefined) ?? inherited.jitter,
  });
}

/** As written when a variable holds it. */
function formatted(field: Field, ms: number): string {
  return field.substitutions.length > 0 ? String(field.written) : formatDuration(ms);
}

function readBreaker(field: Field, inherited: CircuitBreakerPolicy | null): CircuitBreakerPolicy | null {
  if (!field.present) return inherited;
  const base = inherited ?? builtInBreaker;
  return Object.freeze({
    failureRate: field.get('failure_rate').number() ?? base.failureRate,
    minimum: field.get('minimum').number() ?? base.minimum,
    windowMs: field.get('window').duration(second, 60 * minute) ?? base.windowMs,
    openForMs: field.get('open_for').duration(100, 60 * minute) ?? base.openForMs,
  });
}
