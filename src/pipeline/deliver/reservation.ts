import type { NewDelivery } from '../../transport/contract.ts';
import type { DestinationLane } from './destination-lane.ts';

/** Which of new deliveries find a place in their lanes, and a lease for each. */
export class ReservedPlaces {
  readonly leases = new Map<NewDelivery, string>();
  readonly #places = new Map<DestinationLane, number>();

  /** @param laneOf the lane of a destination that may take deliveries before others of the queue, if it has any */
  constructor(
    deliveries: readonly NewDelivery[],
    laneOf: (destination: string) => DestinationLane | null,
    now: number,
  ) {
    const room = new Map<DestinationLane, number>();
    for (const delivery of deliveries) {
      const lane = laneOf(delivery.destination);
      if (lane === null) continue;
      const free = room.get(lane) ?? lane.wanted(now);
      room.set(lane, Math.max(0, free - 1));
      if (free > 0) this.#take(delivery, lane);
    }
    for (const [lane, places] of this.#places) lane.reserve(places);
  }

  /** They are taken now, or never will be. */
  free(): void {
    for (const [lane, places] of this.#places) lane.reserve(-places);
    this.#places.clear();
  }

  #take(delivery: NewDelivery, lane: DestinationLane): void {
    this.leases.set(delivery, newLease());
    this.#places.set(lane, (this.#places.get(lane) ?? 0) + 1);
  }
}

/** Random for the reason that the queue's own leases are: counting starts anew when a crash of the server forgets a claim. */
const newLease = () => String(Math.floor(Math.random() * Number.MAX_SAFE_INTEGER));
