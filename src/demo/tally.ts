import type { Telemetry } from '../domain/telemetry.ts';
import { type Change, expectedArrivals } from './expectation.ts';

/**
 * The demo's own books: what was changed, what must therefore arrive, what arrived, and what pg-observers said it did.
 * What was expected and has arrived is forgotten, so that the books stay small however long the demo runs.
 */
export class Tally {
  /** Transactions of the shop that committed. */
  changes = 0;
  /** Events these must have left in the log. */
  expectedEvents = 0;
  deliveries = 0;
  /** In the end, by a replay or without one. */
  delivered = 0;
  deadLettered = 0;
  replayed = 0;
  /** Big orders paid: each is one delivery to billing. */
  bigOrdersPaid = 0;
  breaker: 'closed' | 'open' | 'half-open' = 'closed';
  /** Expected minus arrived, by arrival; an arrival may be faster than the commit that tells the shop. */
  readonly #balance = new Map<string, number>();
  #missing = 0;

  /** Deliveries that must arrive and have not yet. */
  get missing(): number {
    return this.#missing;
  }

  /** For the message that something is lost. */
  missingArrivals(limit: number): readonly string[] {
    return [...this.#balance]
      .filter(([, count]) => count > 0)
      .map(([arrival]) => arrival)
      .slice(0, limit);
  }

  committed(changes: readonly Change[]): void {
    this.changes += 1;
    this.expectedEvents += changes.length;
    for (const change of changes) {
      if (change.kind === 'order paid' && Number(change.total) > 1000) this.bigOrdersPaid += 1;
      for (const arrival of expectedArrivals(change)) this.#add(arrival, 1);
    }
  }

  arrived(arrival: string): void {
    this.#add(arrival, -1);
  }

  readonly telemetry: Telemetry = (event) => {
    switch (event.type) {
      case 'events.routed':
        for (const { deliveries } of event.events) this.deliveries += deliveries.length;
        break;
      case 'attempt.finished':
        if (event.outcome === 'delivered') {
          this.delivered += 1;
          if (event.replay) this.replayed += 1;
        } else if (event.outcome === 'dead' && !event.replay) this.deadLettered += 1;
        break;
      case 'breaker.changed':
        this.breaker = event.state;
    }
  };

  summary(events: number, lost: number): string {
    const { deliveries, delivered, deadLettered, replayed } = this;
    return (
      `demo: ${events} events, ${deliveries} deliveries, ${delivered} delivered, ` +
      `${deadLettered} dead-lettered, ${replayed} replayed, ${lost} lost`
    );
  }

  #add(arrival: string, change: 1 | -1): void {
    const before = this.#balance.get(arrival) ?? 0;
    const after = before + change;
    if (after === 0) this.#balance.delete(arrival);
    else this.#balance.set(arrival, after);
    this.#missing += Math.max(0, after) - Math.max(0, before);
  }
}
