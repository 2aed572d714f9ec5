import type { Delivery } from '../../domain/delivery.ts';
import type { Settlement } from '../../transport/contract.ts';

/**
 * The settlement that an effect in the observed database takes into its own transaction: then there is no effect without
 * the outcome and no outcome without the effect, and nothing is left to settle.
 */
export class SettledTogether {
  readonly #complete: (settlement: Settlement) => Settlement;
  #settlement: Settlement | null = null;

  /** @param complete with what the rules say about every settlement, and without secrets */
  constructor(complete: (settlement: Settlement) => Settlement) {
    this.#complete = complete;
  }

  /** The one that was taken last; it is in the table only if the attempt succeeded. */
  get settlement(): Settlement | null {
    return this.#settlement;
  }

  /** The delivery as delivered. @param startedAt of the attempt, in the time of performance.now() */
  take(delivery: Delivery, startedAt: number, responseExcerpt: string): Settlement {
    const durationMs = performance.now() - startedAt;
    this.#settlement = this.#complete({ ...asDelivered, delivery, startedAt, durationMs, responseExcerpt });
    return this.#settlement;
  }
}

const asDelivered = {
  kind: 'delivered',
  delayMs: 0,
  reason: null,
  status: null,
  errorClass: null,
  errorMessage: null,
  request: undefined,
  holdsLane: false,
  keepAttempt: true,
  hold: null,
} as const;
