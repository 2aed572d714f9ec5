/**
 * Stage 3: claims what is due, attempts it, and hands the outcomes to the settler.
 *
 * Every destination has its own lane with its own places, so a hanging endpoint fills its lane and nobody else's. One
 * claim statement serves all lanes that have room. Nothing is timed in memory: when to try again stands in the table.
 */

import { openDestination } from '../../actions/registry.ts';
import type { EventRecord } from '../../domain/event.ts';
import type { Action, Config } from '../../domain/rules.ts';
import type { Telemetry } from '../../domain/telemetry.ts';
import type { ClaimedDelivery, DeliveryQueue, Settlement } from '../../transport/contract.ts';
import { StageLoop } from '../stage-loop.ts';
import { attempt } from './attempt.ts';
import { Cancellation } from './cancellation.ts';
import { DestinationLane } from './destination-lane.ts';
import { Settler } from './settler.ts';

export interface DispatcherOptions {
  /** Of the current instance: a new one after its claims were lost. */
  readonly queue: () => DeliveryQueue;
  readonly pollIntervalMs: () => number;
  /** False while this instance may have been declared dead: nothing may start. */
  readonly alive: () => boolean;
  /** Whether its rules are the newest loaded anywhere: only then is an unknown rule a removed one. */
  readonly newestRules: () => boolean;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

/** Outcomes waiting to be written beyond which nothing new is claimed. */
const settlementBacklog = 5_000;
/** A delivery of a rule this process doesn't know: how long it stays with the others. */
const unknownRuleDelayMs = 2_000;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #loop: StageLoop;
  readonly #settler: Settler;
  readonly #cancellation = new Cancellation();
  #lanes = new Map<string, DestinationLane>();
  #actions = new Map<string, Action>();
  #keep: Config['settings']['attempts'] = 'all';
  #inFlight = 0;
  #idle: (() => void) | null = null;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#settler = new Settler(options);
    this.#loop = new StageLoop({
      name: 'deliver',
      round: () => this.#round(),
      telemetry: options.telemetry,
      isTransient: options.isTransient,
    });
  }

  /** Takes up new rules. Lanes whose destination did not change keep their connections, breakers and limits. */
  load(config: Config): void {
    const old = this.#lanes;
    const now = performance.now();
    this.#lanes = new Map();
    for (const destination of config.destinations.values()) {
      const kept = old.get(destination.name);
      const same = kept !== undefined && JSON.stringify(kept.destination) === JSON.stringify(destination);
      this.#lanes.set(
        destination.name,
        same ? kept : new DestinationLane(destination, openDestination(destination), now),
      );
    }
    this.#actions = new Map(
      [...config.observers.values()].flatMap((o) => o.actions.map((a) => [actionKey(o.name, a.name), a] as const)),
    );
    this.#keep = config.settings.attempts;
    for (const [name, lane] of old) if (this.#lanes.get(name) !== lane) void this.#retire(lane);
    this.wake();
  }

  get lanes(): readonly DestinationLane[] {
    return [...this.#lanes.values()];
  }

  start(): void {
    this.#loop.start();
  }

  /** There may be something due. */
  wake(): void {
    this.#loop.ring();
  }

  /** Drops what waits: another instance took this one for dead and may have it already. */
  forget(): void {
    for (const lane of this.#lanes.values()) lane.drain();
  }

  /**
   * Claims nothing more, lets attempts in flight end within `timeoutMs`, cuts off the rest (uncounted), writes every
   * outcome, and hands back what was claimed and not attempted.
   */
  async stop(timeoutMs: number): Promise<void> {
    await this.#loop.stop();
    for (const lane of this.#lanes.values()) lane.drain();
    const timer = setTimeout(() => this.#cancellation.cancel(), timeoutMs);
    await this.#attemptsEnded();
    clearTimeout(timer);
    const giveUp = setTimeout(() => this.#settler.abandon(), 5_000);
    await this.#settler.flush();
    clearTimeout(giveUp);
    await Promise.all([...this.#lanes.values()].map((lane) => lane.client.close()));
  }

  async #round(): Promise<number> {
    const { alive, queue, pollIntervalMs } = this.#options;
    if (!alive() || this.#settler.backlog > settlementBacklog) return 20;
    const now = performance.now();
    this.#startWaiting();
    const wanted = this.lanes
      .map((lane) => ({ destination: lane.destination.name, slots: lane.wanted(now) }))
      .filter((wish) => wish.slots > 0);
    const limited = Math.min(...this.lanes.map((lane) => lane.waitMs(now)).filter((ms) => ms > 0));
    if (wanted.length === 0) return Math.min(limited, pollIntervalMs());
    const { claimed, nextDueMs } = await queue().claim(wanted);
    for (const one of claimed) this.#accept(one);
    this.#startWaiting();
    const full = claimed.length > 0 && claimed.length >= Math.max(...wanted.map((wish) => wish.slots));
    return full ? 0 : Math.min(limited, pollIntervalMs(), Math.max(1, nextDueMs ?? Number.POSITIVE_INFINITY));
  }

  #accept(claimed: ClaimedDelivery): void {
    const lane = this.#lanes.get(claimed.delivery.destination);
    if (lane !== undefined) return lane.add(claimed);
    // The rules changed while the claim was on its way.
    void this.#release([claimed], 0, 'the rules changed');
  }

  #startWaiting(): void {
    for (const lane of this.#lanes.values()) this.#startLane(lane);
  }

  #startLane(lane: DestinationLane): void {
    if (this.#loop.stopping || !this.#options.alive()) return;
    for (let next = lane.next(performance.now()); next !== null; next = lane.next(performance.now())) {
      this.#inFlight += 1;
      void this.#deliver(lane, next);
    }
  }

  /** One delivery, from claim to outcome. Never rejects. */
  async #deliver(lane: DestinationLane, claimed: ClaimedDelivery): Promise<void> {
    let failed: boolean | null = null;
    try {
      failed = await this.#attempt(lane, claimed);
    } catch (error) {
      // The event could not be loaded: the claim goes back and is tried again.
      if (!this.#options.isTransient(error)) {
        this.#options.telemetry({ type: 'stage.failed', stage: 'deliver', error });
      }
      await this.#release([claimed], 1_000, 'the event could not be loaded');
    } finally {
      lane.finished(failed, performance.now());
      this.#inFlight -= 1;
      if (this.#inFlight === 0) this.#idle?.();
      this.#startLane(lane);
      if (lane.wanted(performance.now()) > 0) this.wake();
    }
  }

  /** @returns whether the receiver failed; null when it was not asked */
  async #attempt(lane: DestinationLane, claimed: ClaimedDelivery): Promise<boolean | null> {
    const { delivery } = claimed;
    const action = this.#actions.get(actionKey(delivery.observer, delivery.action));
    if (action === undefined || action.destination.name !== delivery.destination) return this.#unknownRule(claimed);
    const event = claimed.event ?? (await this.#options.queue().loadEvent(delivery));
    if (event === null) return this.#bury(claimed, 'engine_fault', 'its event is no longer in the log');
    const before = lane.breakerState(performance.now());
    const result = await attempt(claimed, event, action, lane.client, this.#cancellation);
    if (result === 'cancelled') return null;
    this.#settle(result, event);
    const failed = result.kind !== 'delivered' && result.reason !== 'engine_fault' && result.reason !== 'rejected';
    this.#announceBreaker(lane, before);
    return failed;
  }

  #settle(settlement: Settlement, event: EventRecord): void {
    const keepAttempt = this.#keep === 'all' || (this.#keep === 'failures' && settlement.kind !== 'delivered');
    this.#settler.add({ ...settlement, keepAttempt });
    const { delivery } = settlement;
    this.#options.telemetry({
      type: 'attempt.finished',
      delivery: delivery.id,
      event,
      observer: delivery.observer,
      action: delivery.action,
      destination: delivery.destination,
      attempt: delivery.attempts + 1,
      durationMs: settlement.durationMs,
      outcome: settlement.kind,
      reason: settlement.reason,
      status: settlement.status,
      errorClass: settlement.errorClass,
      message: settlement.errorMessage,
      retryInMs: settlement.kind === 'retry' ? settlement.delayMs : null,
      replay: delivery.deadLetterId !== null,
    });
  }

  /**
   * The rule was removed from the file, or this process has an older file than the one that queued the delivery. Only
   * the newest rules may say that it is gone; everybody else leaves it to them.
   */
  async #unknownRule(claimed: ClaimedDelivery): Promise<null> {
    if (!this.#options.newestRules()) {
      await this.#release([claimed], unknownRuleDelayMs, 'unknown rule');
      return null;
    }
    const { observer, action } = claimed.delivery;
    return this.#bury(claimed, 'rule_removed', `observer ${observer} has no action ${action} any more`);
  }

  /** A dead letter without an attempt. */
  #bury({ delivery }: ClaimedDelivery, reason: 'rule_removed' | 'engine_fault', errorMessage: string): null {
    this.#settler.add({ ...unattempted, delivery, reason, errorMessage });
    return null;
  }

  #announceBreaker(lane: DestinationLane, before: ReturnType<DestinationLane['breakerState']>): void {
    const state = lane.breakerState(performance.now());
    if (state === before) return;
    this.#options.telemetry({ type: 'breaker.changed', destination: lane.destination.name, state });
    // What waits in memory goes back: an open breaker holds nothing.
    if (state === 'open') void this.#release(lane.drain(), 0, 'the circuit breaker opened');
  }

  async #release(claims: readonly ClaimedDelivery[], delayMs: number, reason: string): Promise<void> {
    if (claims.length === 0) return;
    const ids = claims.map(({ delivery }) => delivery.id);
    try {
      const count = await this.#options.queue().release(ids, delayMs);
      this.#options.telemetry({ type: 'delivery.released', count, reason });
    } catch (error) {
      this.#options.telemetry({ type: 'stage.failed', stage: 'release', error });
      // Kept claimed and not in memory, they would wait for this process to end: try until they are back.
      setTimeout(() => void this.#release(claims, delayMs, reason), 1_000);
    }
  }

  async #retire(lane: DestinationLane): Promise<void> {
    await this.#release(lane.drain(), 0, 'the rules changed');
    // Attempts in flight end on the old client.
    await lane.client.close();
  }

  #attemptsEnded(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }
}

const unattempted = {
  kind: 'dead',
  startedAt: null,
  durationMs: 0,
  delayMs: 0,
  status: null,
  errorClass: null,
  responseExcerpt: null,
  request: undefined,
  keepAttempt: false,
} as const;

const actionKey = (observer: string, action: string) => `${observer}\n${action}`;
