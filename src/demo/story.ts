/**
 * What the demo shows, in order: everything well → billing fails → dead letters, and a breaker that opens → billing is
 * repaired → what waited flows → the dead letters are replayed. All through it the shop trades on.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { DatabaseLedger } from './ledger.ts';
import type { ShopReceivers } from './receivers.ts';
import type { Mood, Shop } from './shop.ts';
import type { Tally } from './tally.ts';
import type { View } from './view.ts';

export interface StoryOptions {
  readonly shop: Shop;
  readonly receivers: ShopReceivers;
  readonly tally: Tally;
  readonly ledger: DatabaseLedger;
  readonly view: View;
  /** Changes per second. */
  readonly rate: number;
  /** Changes in all; Infinity: until stopped. */
  readonly changes: number;
  readonly stop: AbortSignal;
}

/** Between two looks at whether something has happened. Milliseconds. */
const lookMs = 100;
const wellForMs = 8_000;
/** How long everything is well before billing fails again, in a demo without end. */
const wellAgainForMs = 60_000;
const heldForMs = 4_000;
/** The breaker needs attempts to open; with few changes there are none. */
const breakerWithinMs = 6_000;
/** Longer than a breaker of the example stays open, retries included. */
const patienceMs = 40_000;

export class Story {
  readonly #o: StoryOptions;

  constructor(options: StoryOptions) {
    this.#o = options;
  }

  /** Ends when told to stop, or when the story is told and the changes are made. */
  async tell(): Promise<void> {
    const { stop, changes } = this.#o;
    await this.#trade('normal', { share: 0.3, forMs: wellForMs });
    do {
      await this.#breakBilling();
      await this.#openBreaker();
      await this.#repairBilling();
      await this.#replay();
      await this.#trade('normal', { share: 1, forMs: changes === Number.POSITIVE_INFINITY ? wellAgainForMs : null });
    } while (!stop.aborted && this.#left > 0);
  }

  /** Waits until everything that must arrive has arrived, and what died meanwhile was replayed, or nothing moves any more. */
  async settle(idleMs: number): Promise<void> {
    const { tally, ledger } = this.#o;
    let movedAt = performance.now();
    let last = '';
    while (performance.now() - movedAt < idleMs) {
      const books = await ledger.read();
      const { unrouted, pending, deadLetters, events } = books;
      if (tally.missing + unrouted + pending + deadLetters === 0 && events >= tally.expectedEvents) return;
      if (deadLetters > 0 && pending === 0 && unrouted === 0) await ledger.replayAll();
      const now = JSON.stringify([books, tally.missing, tally.delivered]);
      if (now !== last) movedAt = performance.now();
      last = now;
      await sleep(lookMs);
    }
  }

  async #breakBilling(): Promise<void> {
    const { receivers, tally, shop, view } = this.#o;
    // What is on its way to billing arrives first, so that the first failure is one order's alone.
    await this.#trade('calm', {
      share: 0.34,
      until: async () => (await this.#o.ledger.read()).pending === 0,
      forMs: 5_000,
    });
    if (this.#over) return;
    view.step(
      'bad',
      'Billing goes down: its endpoint answers 503 from now on. Watch: mail and Slack of the same order still go out.',
    );
    receivers.billingIsDown = true;
    const paid = tally.bigOrdersPaid;
    while (tally.bigOrdersPaid === paid && !this.#over && this.#left > 0) await shop.payBigOrder();
    if (tally.bigOrdersPaid === paid) return;
    const before = tally.deadLettered;
    await this.#trade('calm', { share: 0.45, until: () => tally.deadLettered > before, forMs: patienceMs });
    await this.#trade('calm', {
      share: 0,
      until: async () => (await this.#o.ledger.read()).deadLetters > 0,
      forMs: 5_000,
    });
    if (this.#over || tally.deadLettered === before) return;
    view.step(
      'bad',
      'Billing had its 5 attempts: the delivery is now a dead letter. It is kept, with the event, the request and the answer: select * from observers.dead_letters;',
    );
  }

  async #openBreaker(): Promise<void> {
    const { tally, ledger, view } = this.#o;
    await this.#trade('busy', { share: 0.65, until: () => tally.breaker === 'open', forMs: breakerWithinMs });
    if (this.#over || tally.breaker !== 'open') return;
    view.step(
      'bad',
      "Too many failures: billing's circuit breaker opens. Deliveries for billing now wait in observers.deliveries and use up no attempts; all others go on.",
    );
    await this.#trade('busy', { share: 0.75, forMs: heldForMs });
    const { pending, deadLetters } = await ledger.read();
    if (!this.#over)
      view.remark(`${count(pending, 'delivery waits', 'deliveries wait')}, ${count(deadLetters, 'dead letter')}`);
  }

  async #repairBilling(): Promise<void> {
    const { receivers, tally, view } = this.#o;
    const held = tally.breaker !== 'closed';
    if (!this.#over) {
      view.step(
        'good',
        `Billing is repaired.${held ? ' The breaker lets one delivery probe it when its 10 s are over; if that arrives, all others follow.' : ''}`,
      );
    }
    receivers.billingIsDown = false;
    // Without anything that waits nothing probes it either: then the replays will.
    const done = async () => tally.breaker === 'closed' || (await this.#o.ledger.read()).pending === 0;
    await this.#trade('normal', { share: 0.85, until: done, forMs: patienceMs });
    if (held && tally.breaker === 'closed' && !this.#over)
      view.step('good', 'The probe arrived: the breaker closes, and what waited flows.');
  }

  async #replay(): Promise<void> {
    const { tally, ledger, view } = this.#o;
    const { deadLetters } = await ledger.read();
    if (this.#over || deadLetters === 0) return;
    view.step(
      'good',
      `Now the ${count(deadLetters, 'dead letter')} again: select observers.replay(id) from observers.dead_letters; (or: pg-observers dlq retry-all)`,
    );
    const before = tally.replayed;
    const queued = await ledger.replayAll();
    await this.#trade('normal', { share: 0.9, until: () => tally.replayed - before >= queued, forMs: patienceMs });
    await this.#trade('normal', { share: 0, until: async () => (await ledger.read()).deadLetters === 0, forMs: 5_000 });
    if (this.#over || (await ledger.read()).deadLetters > 0) return;
    const all = queued === 1 ? 'The replay arrived' : `All ${queued} replays arrived`;
    view.step('good', `${all}, under the same webhook-id as the first attempts. No dead letters are left.`);
  }

  /**
   * Makes changes at the pace of `rate`, as many as leave this share of all made, until the condition holds or the time
   * is up; with neither, until the changes are made. When the share is used up it only waits.
   */
  async #trade(
    mood: Mood,
    { share, until, forMs }: { share: number; until?: () => boolean | Promise<boolean>; forMs: number | null },
  ): Promise<void> {
    const { shop, tally, view, rate, changes } = this.#o;
    const began = performance.now();
    let due = began;
    let lookedAt = Number.NEGATIVE_INFINITY;
    while (!this.#over) {
      if (until !== undefined && performance.now() - lookedAt >= lookMs) {
        if (await until()) return;
        lookedAt = performance.now();
      }
      if (forMs !== null && performance.now() - began >= forMs) return;
      const mayTrade = tally.changes < Math.floor(changes * share);
      if (!mayTrade && until === undefined) return;
      const now = performance.now();
      if (mayTrade && now >= due) {
        const remark = await shop.trade(mood);
        if (remark !== null) view.remark(remark);
        // Not from `now`, so that the pace is kept; but what was missed is not made up for in a burst.
        due = Math.max(due + 1_000 / rate, performance.now() - 1_000 / rate);
      }
      const waitMs = mayTrade ? Math.min(due - performance.now(), lookMs) : lookMs;
      if (waitMs > 0) await sleep(waitMs, undefined, { signal: this.#o.stop }).catch(() => {});
    }
  }

  get #over(): boolean {
    return this.#o.stop.aborted;
  }

  get #left(): number {
    return this.#o.changes - this.#o.tally.changes;
  }
}

function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}
