import { setImmediate } from 'node:timers/promises';
import type { Telemetry } from '../../domain/telemetry.ts';
import type { ClaimedDelivery } from '../../transport/contract.ts';
import type { Breakers } from './breakers.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import type { ClaimsInHand } from './claims-in-hand.ts';
import type { DeliveryWorker } from './delivery-worker.ts';
import type { DestinationLane } from './destination-lane.ts';
import type { DestinationLanes } from './destination-lanes.ts';
import { LargeEvents } from './large-events.ts';
import type { Turn } from './turn.ts';

export interface AttemptsInFlightOptions {
  readonly lanes: DestinationLanes;
  readonly inHand: ClaimsInHand;
  readonly worker: DeliveryWorker;
  readonly breakers: Breakers;
  /** False while nothing may start: this instance stops, or may have been declared dead. */
  readonly mayBegin: () => boolean;
  /** An attempt of this tenant ended: the lane has a free place. */
  readonly onRoom: (lane: DestinationLane, tenant: string | null) => void;
  /** What may be claimed changed. */
  readonly onBreaker: () => void;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

/**
 * Begun in a row before the sockets get a look: some ten milliseconds' worth. With thousands of places, the first answers would
 * otherwise wait until the last request is made, and their attempts seem to take as long.
 */
const mostInARow = 100;

/** Begins what waits in the lanes as their places, limits and the memory for large events permit, and follows it to its end. */
export class AttemptsInFlight {
  readonly #options: AttemptsInFlightOptions;
  readonly #large = new LargeEvents();
  #count = 0;
  #inARow = 0;
  /** Until it resolves nothing begins. */
  #pause: Promise<void> | null = null;
  #whenNone: (() => void) | null = null;

  constructor(options: AttemptsInFlightOptions) {
    this.#options = options;
  }

  /** Resolves when none is left. */
  ended(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenNone = resolve;
    });
  }

  /** Resolves when whatever may begin has begun. */
  async allBegun(): Promise<void> {
    while (this.#pause !== null) await this.#pause;
  }

  /** In every lane. */
  begin(): void {
    for (const lane of this.#options.lanes) {
      this.#beginIn(lane);
      this.giveBack(lane);
    }
  }

  #beginIn(lane: DestinationLane): void {
    if (lane.waiting === 0) return;
    const now = performance.now();
    for (let turn = this.#nextTurn(lane, now); turn !== null; turn = this.#nextTurn(lane, now)) {
      this.#count += 1;
      this.#large.started(lane, turn.claimed);
      void this.#deliver(lane, turn);
    }
  }

  #nextTurn(lane: DestinationLane, now: number): Turn | null {
    // Asked before each: a process that is stopped in the middle of this must not begin the rest when it wakes.
    if (this.#pause !== null || !this.#options.mayBegin()) return null;
    const head = lane.head(now);
    const turn = head !== undefined && this.#large.permits(lane, head) ? lane.next(now) : null;
    if (turn !== null) this.#countInARow();
    return turn;
  }

  #countInARow(): void {
    this.#inARow += 1;
    if (this.#inARow < mostInARow) return;
    this.#inARow = 0;
    this.#pause = setImmediate().then(() => {
      this.#pause = null;
      this.begin();
    });
  }

  /** One request, from its claims to their outcomes. Never rejects. */
  async #deliver(lane: DestinationLane, turn: Turn): Promise<void> {
    let failed: boolean | null = null;
    let claims: readonly ClaimedDelivery[] = [turn.claimed, ...turn.others];
    const isRetired = (one: DestinationLane) => !this.#options.lanes.includes(one);
    try {
      if (lane.gatherer === null) failed = await this.#options.worker.perform(turn.claimed, lane, isRetired);
      else
        failed = await this.#options.worker.performCombined(claims, lane, isRetired, (found) => {
          const others = new Set(found.map(([claimed]) => claimed));
          claims = claims.filter((claimed) => !others.has(claimed));
          this.#putBack(lane, found);
        });
    } catch (error) {
      // The event could not be loaded, or nobody could say whose rules are the newest: the claim goes back.
      if (!this.#options.isTransient(error)) {
        this.#options.telemetry({ type: 'stage.failed', stage: 'deliver', error });
      }
      await this.#options.inHand.release(claims, 1_000, 'the event could not be loaded');
    } finally {
      this.#finished(lane, turn, failed);
    }
  }

  /** They begin at once if there are places. What was given up meanwhile, with all claims, is not begun. */
  #putBack(lane: DestinationLane, found: readonly (readonly [ClaimedDelivery, key: string])[]): void {
    const { inHand } = this.#options;
    const held = found.filter(([claimed]) => inHand.holds(claimed));
    if (held.length === 0) return;
    lane.putBack(held);
    this.#beginIn(lane);
    this.giveBack(lane);
  }

  #finished(lane: DestinationLane, turn: Turn, failed: boolean | null): void {
    const now = performance.now();
    lane.finished(turn, failed, now);
    this.#large.finished(lane, turn.claimed);
    this.#count -= 1;
    if (this.#count === 0) this.#whenNone?.();
    if (turn.breaker !== null) this.#lookAt(turn.breaker, lane, turn, now);
    // A large one makes room for those of all lanes.
    if (turn.claimed.event === null) this.begin();
    else this.#beginIn(lane);
    this.#options.onRoom(lane, turn.claimed.delivery.tenant);
  }

  #lookAt(breaker: CircuitBreaker, lane: DestinationLane, { claimed, tenant: share }: Turn, now: number): void {
    // New rules brought another one.
    if (breaker !== lane.breaker && breaker !== share?.breaker) return;
    const tenant = breaker === lane.breaker ? null : claimed.delivery.tenant;
    if (!this.#options.breakers.look(breaker, lane.destination.name, tenant, now)) return;
    this.giveBack(lane);
    this.#options.onBreaker();
  }

  /** What waits in memory and may not begin before long goes back to the queue, also when its claim was on its way just now. */
  giveBack(lane: DestinationLane): void {
    void this.#options.inHand.release(
      lane.surplus(performance.now()),
      0,
      'a circuit breaker opened, or the destination is held',
    );
  }
}
