/**
 * Stage 3: claims what is due, attempts it, and hands the outcomes to the settler.
 *
 * Every destination has its own lane with its own places, so a hanging endpoint fills its lane and nobody else's; within
 * a lane the tenants take turns. One claim serves all lanes that have room. Nothing is timed in memory: when to try again stands in the table.
 *
 * The loop sleeps until something can be claimed, so whatever makes that possible rings it: a finished attempt (room), a
 * written outcome (a retry has its time, the next of an ordered lane is free), a claim handed back, a breaker that
 * changed, the router. The poll is for what nobody could tell us: deliveries that another instance left.
 */

import type { ActionServices } from '../../actions/contract.ts';
import type { Delivery } from '../../domain/delivery.ts';
import type { Config } from '../../domain/rules.ts';
import type { Telemetry } from '../../domain/telemetry.ts';
import type {
  BreakerReport,
  DeliveryQueue,
  DestinationHold,
  NewDelivery,
  Reservation,
  Settlement,
} from '../../transport/contract.ts';
import { StageLoop } from '../stage-loop.ts';
import { ActionLog } from './action-log.ts';
import { AttemptsInFlight } from './attempts-in-flight.ts';
import { Breakers } from './breakers.ts';
import { ClaimsInHand } from './claims-in-hand.ts';
import { DeliveryWorker } from './delivery-worker.ts';
import { DestinationHolds } from './destination-holds.ts';
import type { DestinationLane } from './destination-lane.ts';
import { DestinationLanes } from './destination-lanes.ts';
import { Intake } from './intake.ts';
import { Settler } from './settler.ts';
import { within } from './within.ts';

export interface DispatcherOptions {
  /** The current instance. */
  readonly instance: () => string;
  /** Of the current instance: a new one after its claims were lost. */
  readonly queue: () => DeliveryQueue;
  readonly pollIntervalMs: () => number;
  /** False while this instance may have been declared dead: nothing may start. */
  readonly alive: () => boolean;
  /** Asks whether its rules are the newest loaded anywhere, now: only then is an unknown rule a removed one. */
  readonly confirmNewestRules: () => Promise<boolean>;
  readonly openDatabase: ActionServices['openDatabase'];
  /** Share of traces whose spans are reported, 0 … 1; null: none are. */
  readonly tracedShare: number | null;
  /** While stopping: what was not begun can be claimed by others. */
  readonly onHandedBack?: () => Promise<void>;
  /** Which destinations are sent nothing, as the table says now. */
  readonly readHolds: () => Promise<readonly DestinationHold[]>;
  /** A breaker of a whole destination is in another state. */
  readonly onBreaker?: () => void;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

/** Before the next look, while this instance must not start anything. */
const heldUpMs = 20;
/** For what a cut-off attempt has to tidy up, and for writing the last outcomes, at the end. */
const lastWordsMs = 5_000;

export class Dispatcher {
  /** Told of what others write into the table. */
  readonly holds: DestinationHolds;
  readonly #options: DispatcherOptions;
  readonly #loop: StageLoop;
  readonly #settler: Settler;
  readonly #inHand: ClaimsInHand;
  readonly #worker: DeliveryWorker;
  readonly #log: ActionLog;
  readonly #lanes: DestinationLanes;
  readonly #attempts: AttemptsInFlight;
  readonly #intake: Intake;
  readonly #breakers: Breakers;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#log = new ActionLog(options.telemetry);
    this.#lanes = new DestinationLanes({ log: this.#log.write, openDatabase: options.openDatabase });
    this.#settler = new Settler({ ...options, onSettled: (settlements) => this.#settled(settlements) });
    this.#inHand = new ClaimsInHand({ ...options, onReleased: () => this.wake() }, performance.now());
    this.holds = new DestinationHolds({
      ...options,
      lanes: this.#lanes,
      onHeld: (lane, why) => void this.#inHand.release(lane.drain(), 0, why),
      onFree: () => this.wake(),
    });
    this.#worker = new DeliveryWorker({
      ...options,
      settler: this.#settler,
      inHand: this.#inHand,
      onHold: (destination, hold) => this.holds.ask(destination, hold),
    });
    this.#breakers = new Breakers((event) => {
      options.telemetry(event);
      if (event.type === 'breaker.changed' && event.tenant === null) options.onBreaker?.();
    });
    this.#attempts = new AttemptsInFlight({
      ...options,
      breakers: this.#breakers,
      lanes: this.#lanes,
      inHand: this.#inHand,
      worker: this.#worker,
      mayBegin: () => options.alive() && !this.#loop.stopping,
      onRoom: (lane, tenant) => this.#intake.roomIn(lane, tenant),
      onBreaker: () => this.wake(),
    });
    this.#intake = new Intake({
      ...options,
      lanes: this.#lanes,
      inHand: this.#inHand,
      settler: this.#settler,
      attempts: this.#attempts,
      isStopping: () => this.#loop.stopping,
      ring: () => this.#loop.ring(),
    });
    this.#loop = new StageLoop({
      name: 'deliver',
      round: () => this.#round(),
      recover: async () => this.distrustClaims(),
      telemetry: options.telemetry,
      isTransient: options.isTransient,
    });
  }

  /**
   * Takes up new rules, whole or not at all.
   * @throws UserError when a destination can't be opened
   */
  load(config: Config): void {
    const now = performance.now();
    this.#log.load(config);
    const retired = this.#lanes.load(config, now);
    this.#breakers.load(this.#lanes, now);
    this.#worker.load(config);
    this.holds.tell();
    for (const lane of retired) void this.#retire(lane);
    this.wake();
  }

  get lanes(): readonly DestinationLane[] {
    return [...this.#lanes];
  }

  /** Those that are not closed. */
  get breakers(): readonly BreakerReport[] {
    return this.#breakers.reports;
  }

  start(): void {
    this.#loop.start();
  }

  /** There may be something due. */
  wake(): void {
    this.#intake.lookAgain();
  }

  /** Places for those of new deliveries that can begin at once; null: for none of them. */
  reserve(deliveries: readonly NewDelivery[]): Reservation | null {
    return this.#intake.reserve(deliveries);
  }

  /** Drops what waits: another instance took this one for dead and may have it already. */
  forget(): void {
    this.#intake.beginNewLife();
    for (const lane of this.#lanes) this.#inHand.forget(lane.drain());
  }

  /**
   * What the failed statement claimed, if it did, nobody would attempt. And when the server crashed, it may have forgotten
   * the latest claims, and give them to others: what waits is not begun on the word of an answer from before. Either way
   * the table says what this instance holds, and that goes back.
   */
  distrustClaims(): void {
    for (const lane of this.#lanes) this.#inHand.forget(lane.drain());
    this.#inHand.reconcileSoon();
  }

  /**
   * Claims nothing more, hands back at once what was claimed and not begun, lets attempts in flight end within
   * `timeoutMs`, cuts off the rest (uncounted), and writes every outcome. Never outlasts `timeoutMs` by more than a
   * quarter of a minute: what can't be written then is taken over like the claims of a dead instance.
   */
  async stop(timeoutMs: number): Promise<void> {
    const stopped = this.#loop.stop();
    const waiting = this.lanes.flatMap((lane) => lane.drain());
    const handedBack = this.#inHand
      .release(waiting, 0, 'this instance stops')
      .then(() => (waiting.length === 0 ? undefined : this.#options.onHandedBack?.()));
    const cutOff = setTimeout(() => this.#worker.cancel(), timeoutMs);
    await within(timeoutMs + lastWordsMs, this.#attempts.ended());
    clearTimeout(cutOff);
    await within(lastWordsMs, Promise.all([this.#settler.flush(), stopped, handedBack]));
    this.#settler.abandon();
    await within(lastWordsMs, Promise.all(this.lanes.map((lane) => lane.client.close())));
  }

  async #round(): Promise<number> {
    if (!this.#intake.isOpen) return heldUpMs;
    await this.#inHand.reconcile(performance.now());
    this.#attempts.begin();
    await this.#attempts.allBegun();
    const { again, nextDueMs, at } = await this.#intake.claim();
    return again ? 0 : this.#restMs(nextDueMs, at);
  }

  /** Until the next delivery is due, a limit lets something through, or the poll. Milliseconds. */
  #restMs(nextDueMs: number | null, now: number): number {
    if (!this.#options.alive()) return heldUpMs;
    let restMs = this.#options.pollIntervalMs();
    if (nextDueMs !== null) restMs = Math.min(restMs, Math.max(1, nextDueMs));
    restMs = Math.min(restMs, this.#lanes.waitMs(now));
    this.#breakers.lookAgain(now);
    this.#lanes.forgetTenants(now);
    return restMs;
  }

  #settled(settlements: readonly Settlement[]): void {
    this.#inHand.settled(settlements);
    this.holds.settled(settlements);
    // A retry has its time now, and a follower of an ordered lane is free: both only the table knows.
    const freed = ({ orderingKey, deadLetterId }: Delivery) => orderingKey !== null || deadLetterId !== null;
    if (settlements.some(({ kind, delivery }) => kind === 'retry' || freed(delivery))) this.wake();
  }

  async #retire(lane: DestinationLane): Promise<void> {
    await this.#inHand.release(lane.drain(), 0, 'the rules changed');
    // Attempts in flight end on the old client.
    await lane.client.close();
  }
}
