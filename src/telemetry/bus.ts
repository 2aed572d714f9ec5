import type { Telemetry, TelemetryEvent } from '../domain/telemetry.ts';

/** Hands every telemetry event to all subscribers. One that throws harms neither the others nor the pipeline. */
export class TelemetryBus {
  readonly #subscribers = new Set<Telemetry>();

  /** @returns a function that unsubscribes */
  subscribe(subscriber: Telemetry): () => void {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  readonly emit = (event: TelemetryEvent): void => {
    for (const subscriber of this.#subscribers) {
      try {
        subscriber(event);
      } catch {
        // A log or a gauge that fails must not stop a delivery.
      }
    }
  };
}
