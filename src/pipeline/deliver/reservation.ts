import type { NewDelivery } from '../../transport/contract.ts';
import type { DestinationLane } from './destination-lane.ts';

/** Which of new deliveries find a place in their lanes, and a lease for each. */
export class ReservedPlaces {
  readonly leases = new Map<NewDelivery, string>();
  readonly #places: [lane: DestinationLane, tenant: string | null][] = [];

  /** @param laneOf the lane of a delivery that may go before others of the queue, if it has any */
  constructor(
    deliveries: readonly NewDelivery[],
    laneOf: (delivery: NewDelivery) => DestinationLane | null,
    now: number,
  ) {
    const room = new Map<DestinationLane, number>();
    for (const delivery of deliveries) {
      const lane = laneOf(delivery);
      if (lane === null) continue;
      const free = room.get(lane) ?? lane.wanted(now);
      room.set(lane, Math.max(0, free - 1));
      if (free > 0) this.#take(delivery, lane, now);
    }
  }

  /** They are taken now, or never will be. */
  free(now: number): void {
    for (const [lane, tenant] of this.#places.splice(0)) lane.reserve(tenant, -1, now);
  }

  #take(delivery: NewDelivery, lane: DestinationLane, now: number): void {
    const { tenant } = delivery.event;
    this.leases.set(delivery, newLease());
    this.#places.push([lane, tenant]);
    lane.reserve(tenant, 1, now);
  }
}

/** Random for the reason that the queue's own leases are: counting starts anew when a crash of the server forgets a claim. */
const newLease = () => String(Math.floor(Math.random() * Number.MAX_SAFE_INTEGER));
