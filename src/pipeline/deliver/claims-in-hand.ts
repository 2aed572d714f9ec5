import type { Delivery } from '../../domain/delivery.ts';
import type { Telemetry } from '../../domain/telemetry.ts';
import type { ClaimedDelivery, DeliveryQueue, Settlement } from '../../transport/contract.ts';

export interface ClaimsInHandOptions {
  /** Of the current instance: a new one after its claims were lost. */
  readonly queue: () => DeliveryQueue;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
  /** Claims were handed back: they may be due again. */
  readonly onReleased: () => void;
}

/** Between two looks for claims that the table has and this process doesn't know of. Milliseconds. */
const reconcileEveryMs = 10_000;
/** The same when nothing was claimed, and nothing failed, since the look before. */
const reconcileIdleMs = 60_000;

/**
 * What this process holds, from the claim to the written outcome.
 *
 * The table may think that it holds more: the answer to a claim was lost with its connection, or handing back failed.
 * Nobody would ever attempt those, as this instance is alive; so now and then, and at once after such a fault,
 * everything that is claimed in the table and not in hand goes back.
 */
export class ClaimsInHand {
  readonly #options: ClaimsInHandOptions;
  /** By delivery: one that is retried may be claimed anew before we hear that its last outcome is written. */
  readonly #held = new Map<string, { readonly lease: string; readonly bytes: number }>();
  #bytes = 0;
  #reconcileAt: number;
  /** Claims that may be in the table already and are not in hand yet. */
  #expected = 0;
  #reconciling = false;
  /** Claims came or may have, since the last look. */
  #stirred = true;

  constructor(options: ClaimsInHandOptions, now: number) {
    this.#options = options;
    this.#reconcileAt = now + reconcileEveryMs;
  }

  /** Of the events that came along with their claims. */
  get bytes(): number {
    return this.#bytes;
  }

  take({ delivery, event, bytes }: ClaimedDelivery): void {
    this.#stir();
    const one = { lease: delivery.lease, bytes: event === null ? 0 : bytes };
    this.#bytes += one.bytes - (this.#held.get(delivery.id)?.bytes ?? 0);
    this.#held.set(delivery.id, one);
  }

  /** Announces claims that are on their way. @returns false when they must not come now */
  expect(): boolean {
    if (this.#reconciling) return false;
    this.#expected += 1;
    this.#stir();
    return true;
  }

  /** They are in hand, or nobody knows what became of them. */
  arrived(): void {
    this.#expected -= 1;
  }

  /** Their outcomes are written. */
  settled(settlements: readonly Settlement[]): void {
    for (const { delivery } of settlements) this.#drop(delivery);
  }

  /** Whether it is still this process's to begin. */
  holds({ delivery: { id, lease } }: ClaimedDelivery): boolean {
    return this.#held.get(id)?.lease === lease;
  }

  /** They belong to others now. */
  forget(claims: readonly ClaimedDelivery[]): void {
    for (const { delivery } of claims) this.#drop(delivery);
  }

  /** Never rejects: what could not be handed back is found by `reconcile`. */
  async release(claims: readonly ClaimedDelivery[], delayMs: number, reason: string): Promise<void> {
    if (claims.length === 0) return;
    this.forget(claims);
    const { queue, telemetry, isTransient, onReleased } = this.#options;
    try {
      const count = await queue().release(
        claims.map(({ delivery }) => delivery),
        delayMs,
      );
      telemetry({ type: 'delivery.released', count, reason });
      onReleased();
    } catch (error) {
      if (!isTransient(error)) telemetry({ type: 'stage.failed', stage: 'release', error });
      this.reconcileSoon();
    }
  }

  /** What the table says may differ from what is in hand. */
  reconcileSoon(): void {
    this.#stirred = true;
    this.#reconcileAt = Number.NEGATIVE_INFINITY;
  }

  /** An idle process looks as seldom as it does because there was nothing to lose. */
  #stir(): void {
    if (this.#stirred) return;
    this.#stirred = true;
    this.#reconcileAt = Math.min(this.#reconcileAt, performance.now() + reconcileEveryMs);
  }

  /** Called between two claims, never during one, and not before those expected have come. @throws when the transport is away */
  async reconcile(now: number): Promise<void> {
    if (now < this.#reconcileAt || this.#expected > 0) return;
    this.#reconciling = true;
    const everyMs = this.#stirred || this.#held.size > 0 ? reconcileEveryMs : reconcileIdleMs;
    this.#stirred = false;
    const count = await this.#options
      .queue()
      .releaseUnknown([...this.#held.keys()])
      .finally(() => {
        this.#reconciling = false;
      });
    this.#reconcileAt = this.#stirred ? now + reconcileEveryMs : now + everyMs;
    if (count === 0) return;
    this.#options.telemetry({ type: 'delivery.released', count, reason: 'the answer to their claim was lost' });
  }

  #drop({ id, lease }: Delivery): void {
    const held = this.#held.get(id);
    if (held?.lease !== lease) return;
    this.#held.delete(id);
    this.#bytes -= held.bytes;
  }
}
