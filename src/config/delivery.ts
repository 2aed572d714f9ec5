import type { OutcomeRule } from '../domain/outcome-policy.ts';
import type { CircuitBreakerPolicy, DestinationCommon, DestinationKind } from '../domain/rules.ts';
import { builtInAddresses, readAddresses } from './addresses.ts';
import type { Field } from './field.ts';
import { readOutcomes } from './outcomes.ts';
import { builtInRetry, formatted, readRetry } from './retry.ts';

/** How a destination wants to be treated, with every value settled. */
export interface Delivery extends Omit<DestinationCommon, 'name' | 'position' | 'outcomes'> {
  /** What the file says beside what is built in for the kind. */
  readonly outcomes: readonly OutcomeRule[];
}

export const builtInDelivery: Delivery = Object.freeze({
  timeoutMs: 15_000,
  concurrency: 20,
  retry: builtInRetry,
  outcomes: Object.freeze([]),
  retryAfterMaxMs: 3_600_000,
  rateLimit: null,
  tenantConcurrency: null,
  tenantRateLimit: null,
  circuitBreaker: null,
  addresses: builtInAddresses,
});

const builtInBreaker: CircuitBreakerPolicy = {
  failureRate: 0.5,
  minimum: 10,
  windowMs: 30_000,
  openForMs: 10_000,
  openForMaxMs: 300_000,
  successes: 2,
  per: 'destination',
};

const second = 1_000;
const minute = 60 * second;
const day = 24 * 60 * minute;

/**
 * What `field` (a destination, or `defaults`) says, over what it inherits.
 * @param kind null: of every kind
 */
export function readDelivery(field: Field, inherited: Delivery, kind: DestinationKind | null): Delivery {
  return Object.freeze({
    timeoutMs: readTimeout(field, inherited.timeoutMs),
    concurrency: field.get('concurrency').number() ?? inherited.concurrency,
    retry: readRetry(field.get('retry'), inherited.retry),
    outcomes: readOutcomeRules(field.get('outcomes'), inherited.outcomes, kind),
    retryAfterMaxMs: field.get('retry_after_max').duration(0, day) ?? inherited.retryAfterMaxMs,
    rateLimit: field.get('rate_limit').rate() ?? inherited.rateLimit,
    tenantConcurrency: field.get('tenant_concurrency').number() ?? inherited.tenantConcurrency,
    tenantRateLimit: field.get('tenant_rate_limit').rate() ?? inherited.tenantRateLimit,
    circuitBreaker: readBreaker(field.get('circuit_breaker'), inherited.circuitBreaker),
    addresses: readAddresses(field.get('addresses'), inherited.addresses),
  });
}

export function readTimeout(field: Field, inherited: number): number {
  return field.get('timeout').duration(1, 10 * minute) ?? inherited;
}

function readOutcomeRules(field: Field, inherited: readonly OutcomeRule[], kind: DestinationKind | null) {
  const rules = readOutcomes(field, kind);
  return rules.length === 0 ? inherited : Object.freeze([...inherited, ...rules]);
}

function readBreaker(field: Field, inherited: CircuitBreakerPolicy | null): CircuitBreakerPolicy | null {
  if (!field.present) return inherited;
  const base = inherited ?? builtInBreaker;
  const openForMs = field.get('open_for').duration(100, 60 * minute);
  const openForMaxMs = field.get('open_for_max').duration(100, 24 * 60 * minute);
  if (openForMs !== undefined && openForMaxMs !== undefined && openForMs > openForMaxMs) {
    const shorter = `\`open_for_max\` is shorter than \`open_for\` (${formatted(field.get('open_for'), openForMs)})`;
    field.get('open_for_max').refuse(shorter);
  }
  return Object.freeze({
    failureRate: field.get('failure_rate').number() ?? base.failureRate,
    minimum: field.get('minimum').number() ?? base.minimum,
    windowMs: field.get('window').duration(second, 60 * minute) ?? base.windowMs,
    openForMs: openForMs ?? base.openForMs,
    // Whoever asks for more than the built-in bound means it.
    openForMaxMs: Math.max(openForMs ?? base.openForMs, openForMaxMs ?? base.openForMaxMs),
    successes: field.get('successes').number() ?? base.successes,
    per: (field.get('per').text() as CircuitBreakerPolicy['per'] | undefined) ?? base.per,
  });
}
