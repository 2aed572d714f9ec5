import type { ClaimedDelivery, DeliveryQueue, NewDelivery, Reservation } from '../../transport/contract.ts';
import type { AttemptsInFlight } from './attempts-in-flight.ts';
import type { ClaimsInHand } from './claims-in-hand.ts';
import type { DestinationLane } from './destination-lane.ts';
import type { DestinationLanes } from './destination-lanes.ts';
import { ReservedPlaces } from './reservation.ts';
import type { Settler } from './settler.ts';

export interface IntakeOptions {
  /** The current instance. */
  readonly instance: () => string;
  /** Of the current instance. */
  readonly queue: () => DeliveryQueue;
  /** False while this instance may have been declared dead: nothing may start. */
  readonly alive: () => boolean;
  readonly lanes: DestinationLanes;
  readonly inHand: ClaimsInHand;
  readonly settler: Settler;
  readonly attempts: AttemptsInFlight;
  readonly isStopping: () => boolean;
  /** Asks for another claim. */
  readonly ring: () => void;
}

/** What came of a claim. */
export interface Claim {
  /** There may be more to claim at once. */
  readonly again: boolean;
  /** Milliseconds until the next delivery is due; null: none that is known of. */
  readonly nextDueMs: number | null;
  /** The moment it speaks of, in the time of performance.now(). */
  readonly at: number;
}

/** For the events in hand that came along with their claims; small ones come along anyway. */
const inHandBytes = 16 * 1024 * 1024;
/** Outcomes waiting to be written beyond which nothing new is claimed. */
const settlementBacklog = 5_000;

/** How deliveries come into the lanes: claimed from the queue, or handed over by the router of this process as it queues them. */
export class Intake {
  readonly #options: IntakeOptions;
  /** Counts the lives of the instance: a claim asked for in an earlier one belongs to others. */
  #life = 0;
  /** Counts looks at the queue and reasons for one: what an older look said is out of date. */
  #look = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** False while nothing new may be taken: this instance may be dead for others, or outcomes wait to be written. */
  get isOpen(): boolean {
    return this.#options.alive() && this.#options.settler.backlog <= settlementBacklog;
  }

  /** There may be something due. */
  lookAgain(): void {
    this.#look += 1;
    this.#options.ring();
  }

  /** Whatever was asked for until now is for others. */
  beginNewLife(): void {
    this.#life += 1;
  }

  /** Free places are no reason to ask again when there was nothing for them: a claim for every outcome of a quiet system. */
  roomIn(lane: DestinationLane, tenant: string | null): void {
    const now = performance.now();
    // Not alive: what waits here could not begin, and the loop looks after it.
    if (lane.hasRoomAfter(tenant, this.#look, now) || !this.#options.alive()) this.lookAgain();
    else this.#restNoLonger(lane, now);
  }

  /** The loop rests for as long as what waited asked for when it lay down. */
  #restNoLonger(lane: DestinationLane, now: number): void {
    if (lane.lineWaitMs(now) < Number.POSITIVE_INFINITY) this.#options.ring();
  }

  /** For all lanes that have room. */
  async claim(): Promise<Claim> {
    const { lanes, inHand, attempts, queue } = this.#options;
    // One moment for asking and for resting: between two, a limit may let something through that neither sees.
    const asking = performance.now();
    const wanted = lanes.wishes(asking);
    if (wanted.length === 0) return { again: false, nextDueMs: null, at: asking };
    const life = this.#life;
    this.#look += 1;
    const look = this.#look;
    const batch = await queue().claim(wanted, inHandBytes - inHand.bytes);
    if (life !== this.#life) return { again: true, nextDueMs: null, at: asking };
    lanes.looked(look, wanted, batch, performance.now());
    this.#accept(batch.claimed, lanes.cutOff(wanted, batch.claimed));
    attempts.begin();
    const now = performance.now();
    return { again: lanes.mayHaveMore(look, now), nextDueMs: batch.nextDueMs, at: now };
  }

  /**
   * Those of new deliveries that can begin at once. Only where nothing waits in the queue: what is new must not pass by
   * what is old, and a lane that is full leaves the rest to other instances.
   */
  reserve(deliveries: readonly NewDelivery[]): Reservation | null {
    const { lanes, inHand, attempts, instance, isStopping, ring } = this.#options;
    if (!this.isOpen || isStopping() || inHand.bytes > inHandBytes) return null;
    const now = performance.now();
    const places = new ReservedPlaces(deliveries, (delivery) => this.#laneForNew(delivery, now), now);
    if (places.leases.size === 0 || !inHand.expect()) {
      places.free(now);
      return null;
    }
    const [life, look] = [this.#life, this.#look];
    const arrived = () => {
      places.free(performance.now());
      inHand.arrived();
      // Whoever wanted these places meanwhile found none.
      if (look !== this.#look) ring();
      return life === this.#life;
    };
    return {
      instance: instance(),
      leases: places.leases,
      // Of an earlier life: others have it, or will.
      accept: (claimed) => {
        if (arrived()) this.#accept(claimed);
        attempts.begin();
        for (const lane of lanes) this.#restNoLonger(lane, performance.now());
      },
      abandon: () => {
        if (arrived()) inHand.reconcileSoon();
        this.lookAgain();
      },
    };
  }

  /** null when it would pass by what waits, when there is no room for it, or when the rules don't know its destination. */
  #laneForNew({ destination, event }: NewDelivery, now: number): DestinationLane | null {
    const lane = this.#options.lanes.get(destination);
    return lane?.takesNew(event.tenant, this.#look, now) ? lane : null;
  }

  /** @param cutOff of them, to be handed back */
  #accept(claimed: readonly ClaimedDelivery[], cutOff: readonly ClaimedDelivery[] = []): void {
    const { lanes, inHand, isStopping } = this.#options;
    const now = performance.now();
    const strangers: ClaimedDelivery[] = [];
    const incomplete = new Set(cutOff);
    for (const one of claimed) {
      inHand.take(one);
      const lane = lanes.get(one.delivery.destination);
      if (incomplete.has(one)) continue;
      if (lane === undefined || isStopping()) strangers.push(one);
      else lane.add(one, now);
    }
    void inHand.release(strangers, 0, 'the rules changed, or this instance stops');
    void inHand.release(cutOff, 0, 'the rest of their batch comes with the next claim');
  }
}
