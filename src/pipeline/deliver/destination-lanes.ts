import type { DestinationClient } from '../../actions/contract.ts';
import { openDestination } from '../../actions/registry.ts';
import type { Config, Destination } from '../../domain/rules.ts';
import { DestinationLane } from './destination-lane.ts';

/** One lane per destination of the rules, for as long as the rules name it. */
export class DestinationLanes {
  #lanes = new Map<string, DestinationLane>();

  [Symbol.iterator](): IterableIterator<DestinationLane> {
    return this.#lanes.values();
  }

  get(destination: string): DestinationLane | undefined {
    return this.#lanes.get(destination);
  }

  /** False for a lane whose destination is no longer in the rules. */
  includes(lane: DestinationLane): boolean {
    return this.#lanes.get(lane.destination.name) === lane;
  }

  /**
   * Takes up new rules, whole or not at all. A destination that did not change keeps its connections.
   * @returns lanes that nobody needs any more
   * @throws UserError when a destination can't be opened; the old rules stand
   */
  load(config: Config, now: number): DestinationLane[] {
    const clients = this.#openChanged(config.destinations);
    const lanes = new Map<string, DestinationLane>();
    for (const [name, destination] of config.destinations) {
      const lane = this.#lanes.get(name);
      const client = clients.get(name);
      if (lane !== undefined && client !== undefined) void lane.change(destination, client, now).close();
      const made = lane ?? (client === undefined ? undefined : new DestinationLane(destination, client, now));
      if (made !== undefined) lanes.set(name, made);
    }
    const retired = [...this.#lanes.values()].filter((lane) => !lanes.has(lane.destination.name));
    this.#lanes = lanes;
    return retired;
  }

  #openChanged(destinations: Config['destinations']): Map<string, DestinationClient> {
    const clients = new Map<string, DestinationClient>();
    for (const [name, destination] of destinations) {
      const lane = this.#lanes.get(name);
      if (lane === undefined || written(lane.destination) !== written(destination)) {
        clients.set(name, openDestination(destination));
      }
    }
    return clients;
  }
}

/** Where it stands in the file does not matter. */
function written({ position, ...destination }: Destination): string {
  return JSON.stringify(destination);
}
