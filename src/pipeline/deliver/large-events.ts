import type { ClaimedDelivery } from '../../transport/contract.ts';
import type { DestinationLane } from './destination-lane.ts';

/**
 * Text of large events in flight at once. An attempt holds an event about five times: as it arrives from the database, as
 * text, as body, as bytes, and on its way into the socket.
 */
const most = 16 * 1024 * 1024;

/**
 * Keeps large events, those that don't come along with their claim, from meeting in memory: ten places for rows of 10 MB
 * would be half a gigabyte.
 *
 * A lane with none in flight may always have one, however large and whatever the others hold: a receiver that hangs on its
 * large events must not hold up those of other receivers.
 */
export class LargeEvents {
  readonly #held = new Map<DestinationLane, number>();
  #total = 0;

  permits(lane: DestinationLane, { event, bytes }: ClaimedDelivery): boolean {
    return event !== null || !this.#held.has(lane) || this.#total + bytes <= most;
  }

  started(lane: DestinationLane, claimed: ClaimedDelivery): void {
    this.#add(lane, claimed, 1);
  }

  finished(lane: DestinationLane, claimed: ClaimedDelivery): void {
    this.#add(lane, claimed, -1);
  }

  #add(lane: DestinationLane, { event, bytes }: ClaimedDelivery, sign: 1 | -1): void {
    if (event !== null) return;
    this.#total += sign * bytes;
    const held = (this.#held.get(lane) ?? 0) + sign * bytes;
    if (held > 0) this.#held.set(lane, held);
    else this.#held.delete(lane);
  }
}
