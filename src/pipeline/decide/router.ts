/**
 * Stage 2: moves the checkpoint over the log and leaves deliveries behind it.
 *
 * One instance routes at a time; the others ask once a second whether the place is free. Two that both believe they
 * route do no harm: the commit compares and swaps, and the one that came second starts over.
 */

import type { EventRecord } from '../../domain/event.ts';
import type { Telemetry } from '../../domain/telemetry.ts';
import type { ConditionFault, Decisions, NewDelivery, RoutingSession } from '../../transport/contract.ts';
import { StageLoop } from '../stage-loop.ts';
import { decide, decideEvent } from './decide.ts';
import type { RuleIndex } from './rule-index.ts';

export interface RouterOptions {
  /** null: another instance routes. */
  readonly openSession: () => Promise<RoutingSession | null>;
  /** Asked anew for every slice, so that a reload is whole or not at all. */
  readonly rules: () => RuleIndex;
  readonly pollIntervalMs: () => number;
  /** Called after a commit that left deliveries. */
  readonly onDeliveries: () => void;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

/** Another instance routes: how often to ask for the place. */
const standbyMs = 1_000;
/** How long to stay awake after the last event, so that a busy system never has to notify. */
const lingerMs = 30;
/** Between two looks at the log while awake. */
const lookMs = 2;
/** Between two looks for conditions to evaluate again, unless woken. */
const replayPollMs = 5_000;
/** The longest look, while a writer that saw us awake has not ended. */
const longestLookMs = 50;

export class Router {
  readonly #options: RouterOptions;
  readonly #loop: StageLoop;
  #session: RoutingSession | null = null;
  #idleSince = 0;
  #lookMs = lookMs;
  #woken = true;
  #replaysReadAt = 0;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#loop = new StageLoop({
      name: 'decide',
      round: () => this.#round(),
      recover: () => this.#close('failed'),
      telemetry: options.telemetry,
      isTransient: options.isTransient,
    });
  }

  get routing(): boolean {
    return this.#session !== null;
  }

  start(): void {
    this.#loop.start();
  }

  /** There may be something new in the log. */
  wake(): void {
    this.#woken = true;
    this.#loop.ring();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#close('stopped');
  }

  async #round(): Promise<number> {
    this.#session ??= await this.#acquire();
    if (this.#session === null) return standbyMs;
    const session = this.#session;
    const events = await session.read();
    if (events.length > 0) await this.#route(session, events);
    if (this.#replaysDue()) await this.#replay(session);
    if (events.length === 0) return this.#rest(session);
    await session.wakeUp();
    this.#idleSince = performance.now();
    this.#lookMs = lookMs;
    return 0;
  }

  async #acquire(): Promise<RoutingSession | null> {
    const session = await this.#options.openSession();
    if (session !== null) this.#options.telemetry({ type: 'routing.acquired' });
    return session;
  }

  async #route(session: RoutingSession, events: readonly EventRecord[]): Promise<void> {
    const decisions = decide(events, this.#options.rules());
    if (!(await session.commit(decisions))) return this.#close('another router moved the checkpoint');
    if (decisions.deliveries.length > 0) this.#options.onDeliveries();
    this.#announce(events, decisions);
  }

  #announce(events: readonly EventRecord[], { deliveries, faults }: Decisions): void {
    const perEvent = new Map(events.map((record) => [record, [] as NewDelivery[]]));
    for (const delivery of deliveries) perEvent.get(delivery.event)?.push(delivery);
    const routed = [...perEvent].map(([record, led]) => ({ record, deliveries: led }));
    this.#options.telemetry({ type: 'events.routed', events: routed });
    for (const { event, observer, message } of faults) {
      this.#options.telemetry({ type: 'decide.fault', event, observer, message });
    }
  }

  #replaysDue(): boolean {
    if (!this.#woken && performance.now() - this.#replaysReadAt < replayPollMs) return false;
    this.#woken = false;
    this.#replaysReadAt = performance.now();
    return true;
  }

  /** Conditions of dead letters that somebody asked to try again. */
  async #replay(session: RoutingSession): Promise<void> {
    for (const request of await session.readReplays()) {
      const deliveries: NewDelivery[] = [];
      const faults: ConditionFault[] = [];
      const candidates = this.#options.rules().candidates(request.event);
      const observers = candidates.filter((observer) => observer.name === request.observer);
      decideEvent(request.event, observers, deliveries, faults);
      await session.commitReplay(request, { deliveries, faults });
      if (deliveries.length > 0) this.#options.onDeliveries();
    }
  }

  /**
   * Awake for a moment after the last event, then asleep: writers notify only a sleeping router. It may sleep only when
   * no writer is on its way that saw it awake, and looks once more after it lay down.
   */
  async #rest(session: RoutingSession): Promise<number> {
    if (performance.now() - this.#idleSince < lingerMs) return lookMs;
    const wasAsleep = session.asleep;
    if (await session.fallAsleep()) return wasAsleep ? this.#options.pollIntervalMs() : 0;
    this.#lookMs = Math.min(this.#lookMs * 2, longestLookMs);
    return this.#lookMs;
  }

  async #close(reason: string): Promise<void> {
    const session = this.#session;
    this.#session = null;
    if (session === null) return;
    this.#options.telemetry({ type: 'routing.lost', reason });
    await session.close();
  }
}
