import type { Delivery } from '../../src/domain/delivery.ts';
import type { Settlement } from '../../src/transport/contract.ts';

/** What an attempt that just ended made of a delivery. */
export function settlementOf(
  delivery: Delivery,
  kind: Settlement['kind'] = 'delivered',
  overrides: Partial<Settlement> = {},
): Settlement {
  const failed = kind !== 'delivered';
  return {
    delivery,
    kind,
    startedAt: performance.now(),
    durationMs: 1,
    delayMs: 0,
    reason: kind === 'dead' ? 'rejected' : null,
    status: failed ? 500 : 204,
    errorClass: failed ? 'http_5xx' : null,
    errorMessage: failed ? 'no' : null,
    responseExcerpt: null,
    request: undefined,
    holdsLane: false,
    keepAttempt: true,
    hold: null,
    ...overrides,
  };
}
