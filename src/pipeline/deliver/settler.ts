import type { Telemetry } from '../../domain/telemetry.ts';
import type { DeliveryQueue, Settlement } from '../../transport/contract.ts';

const largestBatch = 1_000;
const firstRetryMs = 100;
const longestRetryMs = 2_000;

export interface SettlerOptions {
  readonly queue: () => DeliveryQueue;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

/**
 * Writes outcomes in batches that form by themselves: one batch is on its way, and what finishes meanwhile is the next
 * one. No timer, so a single outcome is written at once and a thousand cost one round trip.
 *
 * A batch that can't be written is kept and tried until it can; the queue's leases make that safe.
 */
export class Settler {
  readonly #options: SettlerOptions;
  #waiting: Settlement[] = [];
  #writing: Promise<void> | null = null;
  readonly #insisting = new Set<Promise<void>>();
  #abandoned = false;

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  /** Outcomes not written yet: callers stop claiming when it grows. */
  get backlog(): number {
    return this.#waiting.length;
  }

  add(settlement: Settlement): void {
    this.#waiting.push(settlement);
    this.#writing ??= this.#write();
  }

  /** Resolves when everything added so far is written, or `abandon` was called. */
  async flush(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
    await Promise.all(this.#insisting);
  }

  /** Gives up what can't be written: the deliveries repeat when their claims are taken over. */
  abandon(): void {
    this.#abandoned = true;
  }

  async #write(): Promise<void> {
    // So that what is added in the same turn makes one batch.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, largestBatch);
      if (!(await this.#writeBatch(batch))) break;
    }
    this.#writing = null;
  }

  async #writeBatch(batch: readonly Settlement[]): Promise<boolean> {
    for (let delayMs = firstRetryMs; !this.#abandoned; delayMs = Math.min(delayMs * 2, longestRetryMs)) {
      try {
        const settled = await this.#options.queue().settle(batch);
        if (settled.size < batch.length) {
          this.#options.telemetry({ type: 'delivery.fenced', count: batch.length - settled.size });
        }
        return true;
      } catch (error) {
        if (!this.#options.isTransient(error)) return this.#refused(batch, error);
        await pause(delayMs);
      }
    }
    return false;
  }

  /** One outcome that the table refuses must not hold up the others: halve until it is alone, then without its details. */
  async #refused(batch: readonly Settlement[], error: unknown): Promise<boolean> {
    const [only] = batch;
    if (batch.length > 1 || only === undefined) {
      const middle = Math.ceil(batch.length / 2);
      const halves = [batch.slice(0, middle), batch.slice(middle)];
      const written = await Promise.all(halves.map((half) => this.#writeBatch(half)));
      return written.every(Boolean);
    }
    this.#options.telemetry({ type: 'stage.failed', stage: 'settle', error });
    const bare = {
      ...only,
      request: undefined,
      responseExcerpt: null,
      errorMessage: 'its details could not be stored',
    };
    const insisting = this.#insist(bare).finally(() => this.#insisting.delete(insisting));
    this.#insisting.add(insisting);
    return true;
  }

  /** Beside the batches, so that they go on. */
  async #insist(settlement: Settlement): Promise<void> {
    while (!this.#abandoned) {
      try {
        await this.#options.queue().settle([settlement]);
        return;
      } catch (error) {
        this.#options.telemetry({ type: 'stage.failed', stage: 'settle', error });
        await pause(longestRetryMs);
      }
    }
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
