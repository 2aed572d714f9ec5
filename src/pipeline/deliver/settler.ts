import type { Telemetry } from '../../domain/telemetry.ts';
import { type DeliveryQueue, isPlain, type Settlement } from '../../transport/contract.ts';
import { Wake } from '../wake.ts';

const largestBatch = 1_000;
/**
 * Between two batches of plain outcomes. Nobody waits for those, and at some hundred a second each would be a flush of its own: a
 * sixth of what the server does for a delivery. Milliseconds.
 */
const plainPaceMs = 10;
const firstRetryMs = 100;
const longestRetryMs = 2_000;
/** A delivery whose dead letter is refused stays in the queue, and is tried again after this. Milliseconds. */
const refusedDeathDelayMs = 60_000;

export interface SettlerOptions {
  readonly queue: () => DeliveryQueue;
  /** Their outcomes are in the table, or there is nothing more to be done about them. */
  readonly onSettled: (settlements: readonly Settlement[]) => void;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

/**
 * Writes outcomes in batches that form by themselves: one batch is on its way, and what finishes meanwhile is the next
 * one. A single outcome is written at once, and a thousand cost one round trip.
 *
 * A batch that can't be written is kept and tried until it can; the queue's leases make that safe.
 */
export class Settler {
  readonly #options: SettlerOptions;
  #waiting: Settlement[] = [];
  /** When the last batch was begun. */
  #wroteAt = Number.NEGATIVE_INFINITY;
  /** Rung for an outcome that somebody waits for: the next of its lane, or its own retry. */
  readonly #urgent = new Wake();
  #writing: Promise<void> | null = null;
  readonly #insisting = new Set<Promise<void>>();
  #abandoned = false;
  /** Ends the pauses between tries. */
  readonly #pauses = new Set<() => void>();

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  /** Outcomes not written yet: callers stop claiming when it grows. */
  get backlog(): number {
    return this.#waiting.length + this.#insisting.size;
  }

  add(settlement: Settlement): void {
    this.#waiting.push(settlement);
    if (!isPlain(settlement)) this.#urgent.ring();
    this.#writing ??= this.#write();
  }

  /** It is in the table already: committed together with its effect. */
  written(settlement: Settlement): void {
    this.#options.onSettled([settlement]);
  }

  /** Resolves when everything added so far is written, or `abandon` was called. */
  async flush(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
    await Promise.all(this.#insisting);
  }

  /** Gives up what can't be written: the deliveries repeat when their claims are taken over. */
  abandon(): void {
    this.#abandoned = true;
    for (const end of this.#pauses) end();
  }

  async #write(): Promise<void> {
    // So that what is added in the same turn makes one batch.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      if (this.#mayGather()) await this.#urgent.wait(this.#wroteAt + plainPaceMs - performance.now());
      this.#wroteAt = performance.now();
      if (!(await this.#writeBatch(this.#nextBatch()))) break;
    }
    this.#writing = null;
  }

  #mayGather(): boolean {
    return this.#waiting.length < largestBatch && this.#waiting.every(isPlain);
  }

  /** The oldest outcome, and the others of its kind: plain ones alone are cheap to write. */
  #nextBatch(): Settlement[] {
    const [oldest] = this.#waiting;
    const kind = oldest !== undefined && isPlain(oldest);
    if (this.#waiting.every((settlement) => isPlain(settlement) === kind)) return this.#waiting.splice(0, largestBatch);
    const batch: Settlement[] = [];
    const others: Settlement[] = [];
    for (const settlement of this.#waiting) {
      (batch.length < largestBatch && isPlain(settlement) === kind ? batch : others).push(settlement);
    }
    this.#waiting = others;
    return batch;
  }

  async #writeBatch(batch: readonly Settlement[]): Promise<boolean> {
    for (let delayMs = firstRetryMs; !this.#abandoned; delayMs = Math.min(delayMs * 2, longestRetryMs)) {
      try {
        await this.#settle(batch);
        return true;
      } catch (error) {
        if (!this.#options.isTransient(error)) return this.#refused(batch, error);
        await this.#pause(delayMs);
      }
    }
    return false;
  }

  async #settle(batch: readonly Settlement[]): Promise<void> {
    const settled = await this.#options.queue().settle(batch);
    this.#options.onSettled(batch);
    const fenced = batch.length - settled.size;
    if (fenced > 0) this.#options.telemetry({ type: 'delivery.fenced', count: fenced });
  }

  /** One outcome that the table refuses must not hold up the others: halve until it is alone. */
  async #refused(batch: readonly Settlement[], error: unknown): Promise<boolean> {
    const [only] = batch;
    if (batch.length > 1 || only === undefined) {
      const middle = Math.ceil(batch.length / 2);
      if (!(await this.#writeBatch(batch.slice(0, middle)))) return false;
      return this.#writeBatch(batch.slice(middle));
    }
    this.#reportRefusal(only, error);
    const insisting = this.#insist(only).finally(() => this.#insisting.delete(insisting));
    this.#insisting.add(insisting);
    return true;
  }

  /**
   * Beside the batches, so that they go on. First without its details; and when a dead letter is refused even so, the
   * delivery stays in the queue: nothing is dropped because there is no place to bury it.
   */
  async #insist(settlement: Settlement): Promise<void> {
    const bare = withoutDetails(settlement);
    let attempted = bare;
    while (!this.#abandoned) {
      try {
        await this.#settle([attempted]);
        return;
      } catch (error) {
        if (this.#options.isTransient(error)) await this.#pause(longestRetryMs);
        else if (attempted === bare && bare.kind === 'dead') attempted = postponed(settlement, error);
        else {
          this.#reportRefusal(settlement, error);
          await this.#pause(longestRetryMs);
        }
      }
    }
  }

  #reportRefusal({ delivery, kind }: Settlement, error: unknown): void {
    this.#options.telemetry({ type: 'settlement.refused', delivery: delivery.id, outcome: kind, error });
  }

  #pause(ms: number): Promise<void> {
    if (this.#abandoned) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#pauses.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#pauses.add(end);
    });
  }
}

/** Without what the receiver or the request put into it; the history goes without this attempt. */
function withoutDetails(settlement: Settlement): Settlement {
  const errorMessage = settlement.errorMessage === null ? null : 'its details could not be stored';
  return { ...settlement, request: undefined, responseExcerpt: null, errorMessage, keepAttempt: false };
}

function postponed(settlement: Settlement, error: unknown): Settlement {
  const why = error instanceof Error ? error.message : String(error);
  const errorMessage = `its dead letter could not be stored: ${why}`;
  return {
    ...withoutDetails(settlement),
    kind: 'retry',
    reason: null,
    delayMs: refusedDeathDelayMs,
    errorMessage,
  };
}
