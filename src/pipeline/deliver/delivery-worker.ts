import type { Combining, DestinationClient } from '../../actions/contract.ts';
import { type Delivery, isReplay } from '../../domain/delivery.ts';
import type { EventRecord } from '../../domain/event.ts';
import type { DeadLetterReason } from '../../domain/outcome.ts';
import type { Action, Config } from '../../domain/rules.ts';
import { SourceNames } from '../../domain/source-names.ts';
import type { Telemetry } from '../../domain/telemetry.ts';
import {
  type ClaimedDelivery,
  type DeliveryQueue,
  type RequestedHold,
  type Settlement,
  unattempted,
} from '../../transport/contract.ts';
import { attempt, type Surroundings } from './attempt.ts';
import { Cancellation } from './cancellation.ts';
import type { ClaimsInHand } from './claims-in-hand.ts';
import { attemptCombined, type Member, type Rendered, renderMember, splitOff } from './combined-attempt.ts';
import { isTooOld, tooOld } from './consequence.ts';
import type { DestinationLane } from './destination-lane.ts';
import { createSettlementRedactor } from './redaction.ts';
import { SettledTogether } from './settled-together.ts';
import type { Settler } from './settler.ts';

export interface DeliveryWorkerOptions {
  readonly queue: () => DeliveryQueue;
  /** Asks whether the rules of this process are the newest loaded anywhere, now: only then is an unknown rule a removed one. */
  readonly confirmNewestRules: () => Promise<boolean>;
  readonly settler: Settler;
  readonly inHand: ClaimsInHand;
  /** The receiver wants nothing more, for a while or at all. */
  readonly onHold: (destination: string, hold: RequestedHold) => void;
  /** Of traces of our own, 0 … 1; null: this process reports none. */
  readonly tracedShare: number | null;
  readonly telemetry: Telemetry;
}

/** A delivery of a rule this process doesn't know: how long it stays with the others. */
const unknownRuleDelayMs = 2_000;
/** A delivery whose note another one is about to leave: about as long as an attempt takes. */
const busyNoteDelayMs = 250;

/** One claimed delivery, from its rule to its outcome: attempted, buried without an attempt, or handed back. */
export class DeliveryWorker {
  readonly #options: DeliveryWorkerOptions;
  readonly #cancellation = new Cancellation();
  #surroundings: Surroundings;
  #actions = new Map<string, Action>();
  /** Observers of which nothing is sent, whenever it was queued. */
  #shadows: ReadonlySet<string> = new Set();
  /** Observers whose dead hold their lane. */
  #blocking: ReadonlySet<string> = new Set();
  #keep: Config['settings']['attempts'] = 'all';
  #redact: (settlement: Settlement) => Settlement = (settlement) => settlement;
  #sources = new SourceNames([]);
  readonly #rendered = new WeakMap<ClaimedDelivery, Rendered>();

  constructor(options: DeliveryWorkerOptions) {
    this.#options = options;
    this.#surroundings = {
      cancellation: this.#cancellation,
      openNote: (delivery, name) => options.queue().openNote(delivery, name),
      tracedShare: options.tracedShare,
      maxDepth: 0,
    };
  }

  load(config: Config): void {
    this.#actions = new Map(
      [...config.observers.values()]
        .filter(({ mode }) => mode === 'live')
        .flatMap((o) => o.actions.map((a) => [actionKey(o.name, a.name), a] as const)),
    );
    this.#shadows = new Set([...config.observers.values()].flatMap((o) => (o.mode === 'shadow' ? o.name : [])));
    this.#blocking = new Set([...config.observers.values()].flatMap((o) => (o.onDead === 'block' ? o.name : [])));
    this.#keep = config.settings.attempts;
    this.#surroundings = { ...this.#surroundings, maxDepth: config.settings.maxDepth };
    this.#redact = createSettlementRedactor(config.secrets);
    this.#sources = new SourceNames(config.sources.values());
  }

  /** Cuts off every attempt in flight, and every later one. */
  cancel(): void {
    this.#cancellation.cancel();
  }

  /**
   * @param isRetired whether the lane's destination left the rules while the event was loaded
   * @returns whether the receiver failed; null when it was not asked
   * @throws when the transport is away: the claim is still held
   */
  async perform(
    claimed: ClaimedDelivery,
    lane: DestinationLane,
    isRetired: (lane: DestinationLane) => boolean,
  ): Promise<boolean | null> {
    const member = await this.#prepare(claimed, lane, isRetired);
    if (member === null) return null;
    const { event, action } = member;
    const together = new SettledTogether(this.#complete);
    const outcome = await attempt(claimed.delivery, event, action, lane.client, this.#surroundings, together);
    if (outcome === 'cancelled') return null;
    if (outcome === 'busy') {
      await this.#options.inHand.release([claimed], busyNoteDelayMs, 'another delivery is about to leave its note');
      return null;
    }
    return this.#finish(outcome, event, outcome === together.settlement);
  }

  /**
   * Those of a turn that go in one request.
   * @param putBack takes the others, with what they have in common with whom
   * @returns as `perform`: a request that succeeded for some did not fail
   */
  async performCombined(
    turn: readonly ClaimedDelivery[],
    lane: DestinationLane,
    isRetired: (lane: DestinationLane) => boolean,
    putBack: (found: readonly (readonly [ClaimedDelivery, key: string])[]) => void,
  ): Promise<boolean | null> {
    // Not within the loop that begins: what is put back begins there, too.
    await null;
    const members = await this.#prepareAll(turn, lane, isRetired);
    const { client, gatherer } = lane;
    const { combining } = client;
    if (!combining || gatherer === null) {
      const claims = members.map(({ claimed }) => claimed);
      await this.#options.inHand.release(claims, 0, 'the rules changed');
      return null;
    }
    const rendered = members.flatMap((member) => this.#render(member, client, combining) ?? []);
    const [[first, ...more], others] = splitOff(rendered, gatherer.gathering);
    putBack(others.map(({ claimed, key }) => [claimed, key] as const));
    if (first === undefined) return null;
    const outcomes = await attemptCombined([first, ...more], client, combining, this.#surroundings);
    if (outcomes === 'cancelled') return null;
    if (outcomes === 'busy') {
      const claims = [first, ...more].map(({ claimed }) => claimed);
      await this.#options.inHand.release(claims, busyNoteDelayMs, 'another delivery is about to leave its note');
      return null;
    }
    const failures = outcomes.map((outcome, i) => this.#finish(outcome, (more[i - 1] ?? first).event, false));
    return failures.includes(null) ? null : failures.every((failed) => failed === true);
  }

  async #prepareAll(
    turn: readonly ClaimedDelivery[],
    lane: DestinationLane,
    isRetired: (lane: DestinationLane) => boolean,
  ): Promise<Member[]> {
    const members: Member[] = [];
    for (const claimed of turn) {
      const member = await this.#prepare(claimed, lane, isRetired);
      if (member !== null) members.push(member);
    }
    return members;
  }

  /** Once, however often it is put back. null: it can't be, and that is settled. */
  #render(member: Member, client: DestinationClient, combining: Combining<unknown>): Rendered | null {
    const known = this.#rendered.get(member.claimed);
    if (known?.action === member.action) return known;
    const rendered = renderMember(member, client, combining);
    if ('kind' in rendered) {
      this.#finish(rendered, member.event, false);
      return null;
    }
    this.#rendered.set(member.claimed, rendered);
    return rendered;
  }

  /** What is to be attempted, and by which rule; null: nothing is, and that is dealt with. */
  async #prepare(
    claimed: ClaimedDelivery,
    lane: DestinationLane,
    isRetired: (lane: DestinationLane) => boolean,
  ): Promise<Member | null> {
    const { delivery } = claimed;
    const stored = claimed.event ?? (await this.#options.queue().loadEvent(delivery));
    const event = stored === null ? null : this.#sources.inFile(stored);
    // Looked up after the event was loaded: the rules may have changed meanwhile.
    const action = this.#actions.get(actionKey(delivery.observer, delivery.action));
    if (action?.destination.name !== delivery.destination) return this.#unknownRule(claimed, event, action);
    if (event === null) return this.#bury(claimed, event, 'engine_fault', 'its event is no longer in the log');
    if (isRetired(lane)) {
      await this.#options.inHand.release([claimed], 0, 'the rules changed');
      return null;
    }
    if (isTooOld(delivery, action.retry, performance.now()))
      return this.#bury(claimed, event, 'exhausted', tooOld(action.retry));
    return { claimed, event, action };
  }

  /** @param written in the transaction of what it did */
  #finish(outcome: Settlement, event: EventRecord, written: boolean): boolean | null {
    const { delivery } = outcome;
    const settlement = written ? outcome : this.#complete(outcome);
    // Before its claim may end, and the next one begin.
    if (settlement.hold) this.#options.onHold(delivery.destination, settlement.hold);
    if (written) this.#options.settler.written(settlement);
    else this.#options.settler.add(settlement);
    this.#report(settlement, event);
    if (outcome.reason === 'engine_fault' || outcome.reason === 'loop' || outcome.hold?.kind === 'disabled')
      return null;
    return outcome.kind === 'retry' || outcome.reason === 'exhausted';
  }

  readonly #complete = (outcome: Settlement): Settlement => {
    const keepAttempt = this.#keep === 'all' || (this.#keep === 'failures' && outcome.kind !== 'delivered');
    return this.#redact({ ...outcome, keepAttempt, holdsLane: this.#holdsLane(outcome, outcome.reason) });
  };

  #report(settlement: Settlement, event: EventRecord): void {
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
      replay: isReplay(delivery),
    });
  }

  /**
   * By the rules of now, not of when it was queued: whoever changes `on_dead` means what dies from then on. A rule that is
   * gone holds nobody up: what it said about its dead went with it.
   */
  #holdsLane({ delivery }: { delivery: Delivery }, reason: DeadLetterReason | null): boolean {
    return (
      reason !== null &&
      reason !== 'rule_removed' &&
      delivery.orderingKey !== null &&
      this.#blocking.has(delivery.observer)
    );
  }

  /**
   * The rule was removed from the file, or this process has an older file than the one that queued the delivery. Only
   * the newest rules may say that it is gone; everybody else leaves it to them.
   */
  async #unknownRule(claimed: ClaimedDelivery, event: EventRecord | null, action: Action | undefined): Promise<null> {
    if (!(await this.#options.confirmNewestRules())) {
      await this.#options.inHand.release([claimed], unknownRuleDelayMs, 'unknown rule');
      return null;
    }
    const { delivery } = claimed;
    const why = this.#shadows.has(delivery.observer)
      ? `observer ${delivery.observer} is in shadow mode now: make it live and replay this, or discard it`
      : action === undefined
        ? `observer ${delivery.observer} has no action ${delivery.action} any more`
        : `action ${delivery.action} of observer ${delivery.observer} goes to ${action.destination.name} now, not to ${delivery.destination}`;
    return this.#bury(claimed, event, 'rule_removed', why);
  }

  /** A dead letter without an attempt. */
  #bury(claimed: ClaimedDelivery, event: EventRecord | null, reason: DeadLetterReason, message: string): null {
    const { delivery } = claimed;
    this.#options.settler.add(unattempted(delivery, reason, message, this.#holdsLane(claimed, reason)));
    this.#options.telemetry({
      type: 'delivery.buried',
      delivery: delivery.id,
      event,
      observer: delivery.observer,
      action: delivery.action,
      destination: delivery.destination,
      reason,
      message,
      attempts: delivery.attempts,
      replay: isReplay(delivery),
    });
    return null;
  }
}

const actionKey = (observer: string, action: string) => `${observer}\n${action}`;
