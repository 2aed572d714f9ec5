/** Decides past events again: for a person who asks, beside the router and without its checkpoint. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { EventRecord } from '../../domain/event.ts';
import { type CompiledExpression, ExpressionError } from '../../domain/expression.ts';
import { createScope, fires } from '../../expression/index.ts';
import type { ConditionFault, Decisions, NewDelivery, ReplayLog } from '../../transport/contract.ts';
import { decide } from './decide.ts';
import type { RuleIndex } from './rule-index.ts';

export interface ReplayOptions {
  /** Of the observers that are to see the events again, and no others. */
  readonly rules: RuleIndex;
  /** Only events for which it is true; null: all. */
  readonly where: CompiledExpression | null;
  /** Deliveries; null: as fast as they can be queued. */
  readonly perSecond: number | null;
  /** false: nothing is written. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (counts: ReplayCounts, reached: EventRecord) => void;
}

export interface ReplayCounts {
  readonly events: number;
  /** Events that `where` let through. */
  readonly matching: number;
  readonly deliveries: number;
  /** By observer. */
  readonly byObserver: ReadonlyMap<string, number>;
  /** Conditions that could not be evaluated. */
  readonly faults: number;
  /** Events on which `where` could not be evaluated: left out. */
  readonly unclear: number;
}

export type ReplayEnd = 'finished' | 'interrupted' | 'overtaken';

/** Queued at once, at most, when nothing limits the rate; and events behind one commit. */
const mostPerStep = 1_000;
/** With a rate, a step is a tenth of a second's worth. */
const stepMs = 100;

/**
 * In steps, each of them atomic, so that an end between two of them is no harm. `overtaken`: another process replays this run.
 */
export async function replayEvents(
  log: ReplayLog,
  options: ReplayOptions,
): Promise<{ readonly end: ReplayEnd; readonly counts: ReplayCounts }> {
  const { perSecond, signal, dryRun } = options;
  const most = perSecond === null ? mostPerStep : Math.max(1, Math.min(mostPerStep, (perSecond * stepMs) / 1_000));
  const counts = new Tally();
  let step = new Step();
  for await (const events of log.read()) {
    for (const event of events) {
      step.add(event, counts.add(decideWhere(event, options)));
      if (step.deliveries.length < most && step.events < mostPerStep) continue;
      const began = performance.now();
      if (!dryRun && !(await log.commit(step, { ...step.place, finished: false }))) return { end: 'overtaken', counts };
      options.onProgress(counts, event);
      if (!dryRun && perSecond !== null) await rest(began + (step.deliveries.length / perSecond) * 1_000, signal);
      step = new Step();
      if (signal.aborted) return { end: 'interrupted', counts };
    }
  }
  if (!dryRun && !(await log.commit(step, { ...step.place, finished: true }))) return { end: 'overtaken', counts };
  return { end: 'finished', counts };
}

async function rest(until: number, signal: AbortSignal): Promise<void> {
  const ms = until - performance.now();
  if (ms > 0) await sleep(ms, undefined, { signal }).catch(() => {});
}

interface DecidedEvent {
  readonly matching: boolean;
  readonly unclear: boolean;
  readonly decisions: Decisions;
}

const nothing: Decisions = { deliveries: [], faults: [] };

function decideWhere(stored: EventRecord, { rules, where }: ReplayOptions): DecidedEvent {
  try {
    if (where !== null && !fires(where.evaluate(createScope(rules.named(stored)))))
      return { matching: false, unclear: false, decisions: nothing };
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    return { matching: false, unclear: true, decisions: nothing };
  }
  return { matching: true, unclear: false, decisions: decide([stored], rules) };
}

class Step {
  readonly deliveries: NewDelivery[] = [];
  readonly faults: ConditionFault[] = [];
  events = 0;
  #last: string | null = null;

  add({ id }: EventRecord, { deliveries, faults }: Decisions): void {
    this.#last = id;
    this.events += 1;
    this.deliveries.push(...deliveries);
    this.faults.push(...faults);
  }

  get place() {
    return { afterId: this.#last, events: this.events };
  }
}

class Tally implements ReplayCounts {
  readonly byObserver = new Map<string, number>();
  events = 0;
  matching = 0;
  deliveries = 0;
  faults = 0;
  unclear = 0;

  add({ matching, unclear, decisions }: DecidedEvent): Decisions {
    this.events += 1;
    this.matching += Number(matching);
    this.unclear += Number(unclear);
    this.deliveries += decisions.deliveries.length;
    this.faults += decisions.faults.length;
    for (const { observer } of decisions.deliveries)
      this.byObserver.set(observer, (this.byObserver.get(observer) ?? 0) + 1);
    return decisions;
  }
}
