/** How deliveries are made, as plain objects: what a destination, an action or `defaults` may say, see input.ts. */

import type { AddressesInput } from './kinds/webhook-input.ts';

/** How a destination wants to be treated. */
export interface DeliveryInput {
  /** One deadline for a whole attempt, 1ms to 10m. Default: 15s. */
  readonly timeout?: string;
  /** Attempts in flight at once, per process, 1 to 10000. Default: 20. */
  readonly concurrency?: number;
  /** `100/s`, `6000/m`, `10/h`. Default: no limit. */
  readonly rate_limit?: string;
  /** Attempts in flight at once for one tenant, per process, 1 to 10000. Default: no limit besides `concurrency`. */
  readonly tenant_concurrency?: number;
  /** `10/s`: attempts for one tenant, per process. Default: no limit. */
  readonly tenant_rate_limit?: string;
  /** `['5s', '5m', '30m', '2h']` is short for `{ schedule: … }`. */
  readonly retry?: RetryInput | readonly string[];
  readonly outcomes?: OutcomesInput;
  /** The longest that a receiver's Retry-After may make it wait, 0s to 1d. Default: 1h. */
  readonly retry_after_max?: string;
  readonly circuit_breaker?: CircuitBreakerInput;
  /** For webhooks: which addresses they may connect to. */
  readonly addresses?: AddressesInput;
}

/**
 * Which outcomes mean what: `503`, `5xx`, `500-503`, `timeout`, `network`, `smtp_552`, `5.7.1`, `slack_channel_not_found`.
 * The most specific one decides; what is not named stays as it was.
 */
export interface OutcomesInput {
  readonly success?: readonly (string | number)[];
  readonly retry?: readonly (string | number)[];
  /** A dead letter at once. */
  readonly reject?: readonly (string | number)[];
  /** Waits, with all that goes there, until a person enables the destination. */
  readonly disable?: readonly (string | number)[];
}

/** Exponential backoff with jitter, or a schedule. */
export interface RetryInput {
  /** Attempts in all, the first one included, 1 to 100. Default: 8. */
  readonly attempts?: number;
  /** Delay before the second attempt, 1ms to 1d. Default: 1s. */
  readonly initial?: string;
  /** Each further delay is this many times the one before, 1 to 100. Default: 2. */
  readonly factor?: number;
  /** No delay is longer, 1ms to 1d. Default: 5m. */
  readonly max?: string;
  /** `full`: a random share of the delay. Default: full. */
  readonly jitter?: 'full' | 'none';
  /** The delays one by one, 1ms to 1d, in place of the four above. */
  readonly schedule?: readonly string[];
  /** A delivery that was queued longer ago is not tried again, 1s to 365d. Default: however old it is. */
  readonly max_age?: string;
}

/** Stops trying a destination that keeps failing; off unless declared. */
export interface CircuitBreakerInput {
  /** Share of failed attempts that opens the breaker, above 0, at most 1. Default: 0.5. */
  readonly failure_rate?: number;
  /** Attempts in the window before the rate means anything, 1 to 100000. Default: 10. */
  readonly minimum?: number;
  /** How far back the rate looks, 1s to 1h. Default: 30s. */
  readonly window?: string;
  /** How long it stays open before a probe, 100ms to 1h. Default: 10s. */
  readonly open_for?: string;
  /** Each probe that fails doubles that time, up to this, 100ms to 1d. Default: 5m. */
  readonly open_for_max?: string;
  /** Probes in a row that must succeed before it closes, 1 to 1000. Default: 2. */
  readonly successes?: number;
  /** What has a breaker of its own. Default: destination. */
  readonly per?: 'destination' | 'tenant';
}
