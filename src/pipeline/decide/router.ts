/**
 * Stage 2: moves the checkpoint over the log and leaves deliveries behind it.
 *
 * One instance routes at a time; the others ask twice a second whether the place is free. Two that both believe they
 * route do no harm: the commit compares and swaps, and the one that came second starts over.
 */

import type { EventRecord } from '../../domain/event.ts';
import type { Telemetry } from '../../domain/telemetry.ts';
import type { NewDelivery, Reservation, RoutingSession } from '../../transport/contract.ts';
import { StageLoop } from '../stage-loop.ts';
import { type Decided, decide, decideAgain } from './decide.ts';
import { PendingQuotas, type PendingQuotasOptions } from './pending-quotas.ts';
import type { RuleIndex } from './rule-index.ts';

export interface RouterOptions {
  /** null: another instance routes. */
  readonly openSession: () => Promise<RoutingSession | null>;
  /** Asked anew for every slice, so that a reload is whole or not at all. */
  readonly rules: () => RuleIndex;
  readonly pollIntervalMs: () => number;
  /** Those of new deliveries that this process can begin at once; null when there are none. */
  readonly reserve: (deliveries: readonly NewDelivery[]) => Reservation | null;
  /** Called after a commit that left deliveries to be claimed. */
  readonly onDeliveries: () => void;
  /** How much of a tenant may wait; absent: as much as comes. */
  readonly quotas?: Omit<PendingQuotasOptions, 'telemetry' | 'mustQueue'>;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

/** Another instance routes: how often to ask for the place. */
const standbyMs = 500;
/** Events that follow each other within this time are a stream: stay awake, so that its writers need not notify. */
const streamGapMs = 20;
/** How long to stay awake after the last event of a stream. */
const lingerMs = 30;
/** The first, and the longest, wait between two looks at the log while lingering. */
const firstLookMs = 1;
const lingerLookMs = 4;
/** After so few events there are hardly more already: let their deliveries go out first, then look. */
const fewEvents = 50;
const breathMs = 1;
/** The longest look after that, while a writer that saw us awake has not ended. */
const longestLookMs = 50;
/** Between two looks for conditions to evaluate again while the log is busy, unless asked. A look that finds no events sees them, too. */
const replayPollMs = 5_000;

const none: readonly NewDelivery[] = [];

export class Router {
  readonly #options: RouterOptions;
  readonly #loop: StageLoop;
  readonly #quotas: PendingQuotas | null;
  #session: RoutingSession | null = null;
  /** Not before, whatever rings for events: all instances hear of those. */
  #askAgainAt = Number.NEGATIVE_INFINITY;
  #routedAt = Number.NEGATIVE_INFINITY;
  #lookMs = firstLookMs;
  #replaysAsked = true;
  #replaysReadAt = Number.NEGATIVE_INFINITY;

  constructor(options: RouterOptions) {
    this.#options = options;
    const { quotas, telemetry } = options;
    // Whose dead hold their lane: one that is refused would let those behind it pass.
    const mustQueue = ({ observer, orderingKey }: NewDelivery) =>
      orderingKey !== null && options.rules().observer(observer)?.onDead === 'block';
    this.#quotas = quotas === undefined ? null : new PendingQuotas({ ...quotas, mustQueue, telemetry });
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
    this.#loop.ring();
  }

  /** The instance that routed is gone. */
  placeIsFree(): void {
    this.#askAgainAt = Number.NEGATIVE_INFINITY;
    this.#loop.ring();
  }

  /** Somebody may have asked for conditions to be evaluated again. */
  wakeForReplays(): void {
    this.#replaysAsked = true;
    this.#loop.ring();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#close('stopped');
  }

  async #round(): Promise<number> {
    this.#session ??= await this.#acquire();
    if (this.#session === null) return this.#askAgainAt - performance.now();
    const session = this.#session;
    const events = await session.read();
    if (events.length > 0 && !(await this.#handle(session, events))) return 0;
    if (this.#replaysDue(session, events.length === 0)) await this.#replay(session);
    if (events.length === 0) return this.#rest(session);
    if (events.length >= fewEvents || session.hasMore) return 0;
    return session.asleep ? this.#asleepMs() : breathMs;
  }

  async #acquire(): Promise<RoutingSession | null> {
    if (performance.now() < this.#askAgainAt) return null;
    const session = await this.#options.openSession();
    if (session === null) this.#askAgainAt = performance.now() + standbyMs;
    else this.#options.telemetry({ type: 'routing.acquired' });
    return session;
  }

  /**
   * A single change is routed asleep, for those that follow it will notify; only a stream is worth waking up for.
   * @returns false when this session is over
   */
  async #handle(session: RoutingSession, events: readonly EventRecord[]): Promise<boolean> {
    if (performance.now() - this.#routedAt < streamGapMs) await session.wakeUp();
    if (!(await this.#route(session, events))) return false;
    this.#routedAt = performance.now();
    this.#lookMs = firstLookMs;
    return true;
  }

  /** @returns false when this session is over */
  async #route(session: RoutingSession, stored: readonly EventRecord[]): Promise<boolean> {
    const began = performance.now();
    const rules = this.#options.rules();
    const decided = await this.#withinQuotas(decide(stored, rules));
    const claimed = await this.#commit(session, { ...decided, shadows: rules.shadows.records(decided.shadowed) });
    if (claimed === null) {
      await this.#close('another router moved the checkpoint');
      return false;
    }
    if (decided.deliveries.length > claimed) this.#options.onDeliveries();
    this.#announce(decided, performance.now() - began);
    return true;
  }

  async #withinQuotas(decided: Decided): Promise<Decided> {
    const quotas = this.#quotas;
    if (quotas === null || !quotas.bounded) return decided;
    const { within, over } = await quotas.share(decided.deliveries, performance.now());
    return over.length === 0 ? decided : { ...decided, deliveries: within, overQuota: over };
  }

  /** @returns how many of the deliveries went straight to the next stage; null when nothing was written */
  async #commit(session: RoutingSession, decided: Decided): Promise<number | null> {
    const reservation = decided.deliveries.length === 0 ? null : this.#options.reserve(decided.deliveries);
    try {
      const claimed = await session.commit(decided, reservation);
      reservation?.accept(claimed ?? []);
      return claimed === null ? null : claimed.length;
    } catch (error) {
      reservation?.abandon();
      throw error;
    }
  }

  #announce({ events, deliveries, faults }: Decided, tookMs: number): void {
    // Deliveries are in the order of the events.
    let next = 0;
    const routed = events.map((record) => {
      const from = next;
      while (deliveries[next]?.event === record) next += 1;
      return { record, deliveries: from === next ? none : deliveries.slice(from, next) };
    });
    this.#options.telemetry({ type: 'events.routed', events: routed, tookMs });
    for (const { event, observer, message } of faults) {
      this.#options.telemetry({ type: 'decide.fault', event, observer, message });
    }
  }

  #replaysDue({ replaysWait }: RoutingSession, quiet: boolean): boolean {
    const due = quiet ? replaysWait : performance.now() - this.#replaysReadAt >= replayPollMs;
    if (!this.#replaysAsked && !due) return false;
    this.#replaysAsked = false;
    this.#replaysReadAt = performance.now();
    return true;
  }

  /** Conditions of dead letters that somebody asked to try again. */
  async #replay(session: RoutingSession): Promise<void> {
    const requests = await session.readReplays();
    for (const request of requests) {
      const decisions = decideAgain(request, this.#options.rules());
      await session.commitReplay(request, decisions);
      if (decisions.deliveries.length > 0) this.#options.onDeliveries();
    }
    // There may be more than one reading brings.
    if (requests.length > 0) this.#replaysAsked = true;
  }

  /**
   * After a look that found nothing. Awake, linger and then lie down: writers notify only a sleeping router. It may sleep
   * only when no writer is on its way that saw it awake, and looks once more after it lay down.
   */
  async #rest(session: RoutingSession): Promise<number> {
    if (session.asleep) return this.#asleepMs();
    const lingering = performance.now() - this.#routedAt < lingerMs;
    if (!lingering && (await session.fallAsleep())) return 0;
    const waitMs = this.#lookMs;
    this.#lookMs = Math.min(waitMs * 2, lingering ? lingerLookMs : longestLookMs);
    return waitMs;
  }

  /** Whoever writes rings: there is no need to look, but for what got lost. */
  #asleepMs(): number {
    return this.#replaysAsked ? 0 : this.#options.pollIntervalMs();
  }

  async #close(reason: string): Promise<void> {
    const session = this.#session;
    this.#session = null;
    if (session === null) return;
    this.#quotas?.forget();
    this.#options.telemetry({ type: 'routing.lost', reason });
    await session.close();
  }
}
