import type { Telemetry } from '../../domain/telemetry.ts';
import type { DestinationHold, RequestedHold, Settlement } from '../../transport/contract.ts';
import type { DestinationLane } from './destination-lane.ts';
import type { DestinationLanes } from './destination-lanes.ts';

export interface DestinationHoldsOptions {
  readonly lanes: DestinationLanes;
  /** What the table says now. */
  readonly readHolds: () => Promise<readonly DestinationHold[]>;
  /** Nothing more begins in it: what it has claimed goes back. */
  readonly onHeld: (lane: DestinationLane, why: string) => void;
  /** Something may be claimed again. */
  readonly onFree: () => void;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

interface Hold {
  /** null: it is only paused. */
  readonly disabled: { readonly by: 'person' | 'receiver'; readonly reason: string | null } | null;
  /** In the time of performance.now(). */
  readonly pausedUntil: number;
}

/** What an attempt of this process asked for. */
interface Asked extends Hold {
  /** When its outcome was written; null: not yet. */
  writtenAt: number | null;
}

/** A pause that is read again seems to end a little earlier or later. Milliseconds. */
const sameMs = 1_000;
const free: Hold = { disabled: null, pausedUntil: Number.NEGATIVE_INFINITY };

/**
 * Which destinations are disabled or paused, as the table says, and what receivers asked for and is not written yet: the
 * answer to one attempt must keep the next one from beginning, long before the table knows.
 *
 * Read at the start, with each heartbeat, and when somebody says that it changed.
 */
export class DestinationHolds {
  readonly #options: DestinationHoldsOptions;
  #stored = new Map<string, Hold>();
  readonly #asked = new Map<string, Asked>();
  /** What each lane was last told. */
  readonly #told = new WeakMap<DestinationLane, Hold>();
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(options: DestinationHoldsOptions) {
    this.#options = options;
  }

  /** A receiver's wish, from now on. */
  ask(destination: string, wish: RequestedHold): void {
    const former = this.#asked.get(destination) ?? free;
    const disabled = wish.kind === 'disabled' ? { by: 'receiver' as const, reason: wish.reason } : former.disabled;
    const pausedUntil = wish.kind === 'paused' ? performance.now() + wish.forMs : former.pausedUntil;
    this.#asked.set(destination, {
      disabled,
      pausedUntil: Math.max(former.pausedUntil, pausedUntil),
      writtenAt: null,
    });
    this.tell();
  }

  /** What they wished is in the table, which alone knows whether a person took it back meanwhile. */
  settled(settlements: readonly Settlement[]): void {
    const destinations = settlements.flatMap(({ hold, delivery }) => (hold ? delivery.destination : []));
    if (destinations.length === 0) return;
    for (const destination of destinations) {
      const asked = this.#asked.get(destination);
      if (asked !== undefined) asked.writtenAt = performance.now();
    }
    void this.look();
  }

  /** Never rejects: what could not be read comes with the next heartbeat. */
  async look(): Promise<void> {
    const askedAt = performance.now();
    try {
      this.take(await this.#options.readHolds(), askedAt);
    } catch (error) {
      if (!this.#options.isTransient(error))
        this.#options.telemetry({ type: 'stage.failed', stage: 'destinations', error });
    }
  }

  /** @param askedAt when the table was asked, in the time of performance.now() */
  take(holds: readonly DestinationHold[], askedAt: number): void {
    // An older answer that comes late.
    if (askedAt < this.#readAt) return;
    this.#readAt = askedAt;
    this.#stored = new Map(
      holds.map(({ destination, disabledBy, reason, pausedForMs }) => [
        destination,
        {
          disabled: disabledBy === null ? null : { by: disabledBy, reason },
          pausedUntil: pausedForMs > 0 ? askedAt + pausedForMs : free.pausedUntil,
        },
      ]),
    );
    for (const [destination, { writtenAt }] of this.#asked) {
      if (writtenAt !== null && writtenAt < askedAt) this.#asked.delete(destination);
    }
    this.tell();
  }

  /** Tells every lane; also after new rules brought new ones. */
  tell(): void {
    for (const lane of this.#options.lanes) this.#tell(lane, this.#of(lane.destination.name));
  }

  #of(destination: string): Hold {
    const stored = this.#stored.get(destination) ?? free;
    const asked = this.#asked.get(destination) ?? free;
    return {
      disabled: stored.disabled ?? asked.disabled,
      pausedUntil: Math.max(stored.pausedUntil, asked.pausedUntil),
    };
  }

  #tell(lane: DestinationLane, hold: Hold): void {
    const now = performance.now();
    const former = this.#told.get(lane) ?? free;
    this.#told.set(lane, hold);
    lane.hold(hold.disabled === null ? hold.pausedUntil : Number.POSITIVE_INFINITY);
    this.#announce(lane.destination.name, former, hold, now);
    if (lane.isHeld(now)) {
      this.#options.onHeld(lane, hold.disabled === null ? 'the destination is paused' : 'the destination is disabled');
    } else if (former.disabled !== null || former.pausedUntil > now) {
      this.#options.onFree();
    }
  }

  #announce(destination: string, former: Hold, { disabled, pausedUntil }: Hold, now: number): void {
    const { telemetry } = this.#options;
    if (disabled !== null && former.disabled === null)
      telemetry({ type: 'destination.disabled', destination, ...disabled });
    if (disabled === null && former.disabled !== null) telemetry({ type: 'destination.enabled', destination });
    const isLonger =
      pausedUntil > Math.max(now, former.pausedUntil + sameMs) || (pausedUntil > now && former.pausedUntil <= now);
    if (disabled === null && isLonger) {
      telemetry({ type: 'destination.paused', destination, forMs: Math.round(pausedUntil - now) });
    }
  }
}
