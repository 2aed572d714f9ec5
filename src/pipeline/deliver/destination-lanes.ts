import type { ActionServices, DestinationClient } from '../../actions/contract.ts';
import { openDestination } from '../../actions/registry.ts';
import type { Config, Destination } from '../../domain/rules.ts';
import type { ClaimedBatch, ClaimedDelivery, ClaimWish } from '../../transport/contract.ts';
import { DestinationLane } from './destination-lane.ts';
import { TenantRates } from './tenant-rates.ts';

/** Tenants whose rates let something through within so long of each other share a look. Milliseconds. */
const tenantsRestMs = 20;

/** One lane per destination of the rules, for as long as the rules name it. */
export class DestinationLanes {
  readonly #rates = new TenantRates();
  readonly #services: ActionServices;
  #lanes = new Map<string, DestinationLane>();

  constructor(services: ActionServices) {
    this.#services = services;
  }

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
    this.#rates.load(config.settings.tenants);
    const lanes = new Map<string, DestinationLane>();
    for (const [name, destination] of config.destinations) {
      const lane = this.#taken(name, destination, clients.get(name), now);
      if (lane !== undefined) lanes.set(name, lane);
    }
    const retired = [...this.#lanes.values()].filter((lane) => !lanes.has(lane.destination.name));
    this.#lanes = lanes;
    return retired;
  }

  #taken(
    name: string,
    destination: Destination,
    client: DestinationClient | undefined,
    now: number,
  ): DestinationLane | undefined {
    const lane = this.#lanes.get(name);
    if (lane === undefined) return client && new DestinationLane(destination, client, this.#rates, now);
    lane.load(destination, now);
    if (client !== undefined) void lane.reconnect(client).close();
    return lane;
  }

  /** What to claim now. */
  wishes(now: number): ClaimWish[] {
    return [...this].flatMap((lane) => lane.wish(now) ?? []);
  }

  /** What came of the wishes. */
  looked(look: number, wishes: readonly ClaimWish[], { claimed, tenants }: ClaimedBatch, now: number): void {
    const got = new Map<string, number>();
    for (const { delivery } of claimed) got.set(delivery.destination, (got.get(delivery.destination) ?? 0) + 1);
    for (const wish of wishes) {
      const { destination } = wish;
      this.get(destination)?.looked(look, wish, got.get(destination) ?? 0, tenants?.get(destination), now);
    }
  }

  /** What lanes that gather should not begin now: it goes back to come in better company. */
  cutOff(wishes: readonly ClaimWish[], claimed: readonly ClaimedDelivery[]): ClaimedDelivery[] {
    return wishes.flatMap(({ destination, slots, gather }) => {
      const gatherer = gather ? this.get(destination)?.gatherer : null;
      const ofIt = gatherer ? claimed.filter(({ delivery }) => delivery.destination === destination) : [];
      return gatherer?.cutOff(ofIt, slots) ?? [];
    });
  }

  /** A lane that got all it asked for, or had nothing to ask for, may take more by now: its rate limit saved up meanwhile. */
  mayHaveMore(look: number, now: number): boolean {
    for (const lane of this) if (!lane.isEmpty(look) && lane.wanted(now) > 0) return true;
    return false;
  }

  /** Milliseconds until a limit lets something through; Infinity when none keeps anything. */
  waitMs(now: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (const lane of this) {
      const waitMs = lane.waitMs(now);
      if (waitMs > 0) least = Math.min(least, waitMs);
      least = Math.min(least, Math.max(tenantsRestMs, lane.tenantsWaitMs(now)));
    }
    return least;
  }

  /** Forgets tenants of which nothing is known any more. */
  forgetTenants(now: number): void {
    for (const lane of this) lane.tenants.forget(now);
    this.#rates.forget((tenant) => [...this].some((lane) => lane.tenants.has(tenant)), now);
  }

  #openChanged(destinations: Config['destinations']): Map<string, DestinationClient> {
    const clients = new Map<string, DestinationClient>();
    for (const [name, destination] of destinations) {
      const lane = this.#lanes.get(name);
      if (lane === undefined || written(lane.destination) !== written(destination)) {
        clients.set(name, openDestination(destination, this.#services));
      }
    }
    return clients;
  }
}

/** Where it stands in the file does not matter. */
function written({ position, ...destination }: Destination): string {
  return JSON.stringify(destination);
}
