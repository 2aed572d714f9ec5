/**
 * Compares what committed with what arrived. Pure: lists in, report out; all times are milliseconds of one clock.
 *
 * - lost: a delivery that had to be, never accepted (2xx, answered to the end), and no dead letter.
 * - repeat: a request for a delivery of which an earlier one had been accepted in time. What was refused before is tried again by
 *   design, and no repeat. A repeat is explained by a fault that permits it when the delivery was in flight at it: its
 *   accepted request began before the fault ended, and its outcome was not written when the fault began. No fault explains
 *   a request begun after the delivery was settled: by then nobody may hold it.
 *   Except for one request per pause: the one that the process was about to begin when it was stopped.
 * - out of order: in a lane (observer, key), a request for an older change after one for a younger change. No break, but
 *   counted (late repeats), is a request that was on its way already, as a sender can't take it back: of a process that was
 *   stopped or killed in the middle of sending, or one that its own retry, begun after it, has overtaken.
 * - wrong payload: a body other than the change that committed; or a message id that is not the delivery's own.
 * - phantom: a request for something that never committed.
 * - dead letters: all of them, and those without a cause: `rejected` needs a refusal, `exhausted` a request and no success.
 * - settled twice: two outcomes written for one delivery.
 */

import type { Arrival, DeadLetter, Expected, Fault, History } from './history.ts';

export type { Arrival, DeadLetter, Expected, Fault, History } from './history.ts';

export const broken = [
  'lost',
  'unexplainedDuplicates',
  'outOfOrder',
  'wrongPayload',
  'phantoms',
  'unexplainedDeadLetters',
  'settledTwice',
  'leftovers',
] as const;

export interface Violation {
  readonly kind: (typeof broken)[number];
  readonly delivery: string;
  readonly text: string;
}

export type Verdict = Readonly<Record<(typeof broken)[number], number>> & {
  readonly deliveries: number;
  readonly requests: number;
  /** Accepted requests beyond the first of a delivery, explained or not. */
  readonly duplicates: number;
  /** Requests overtaken by the next one for their delivery, that arrived after a younger change of their lane. */
  readonly lateRepeats: number;
  readonly deadLetters: number;
  readonly violations: readonly Violation[];
};

export function check(history: History): Verdict {
  const expected = new Map(history.expected.map((one) => [one.delivery, one]));
  const dead = new Map(history.deadLetters.map((one) => [one.delivery, one]));
  const byDelivery = group(history.arrivals);
  const repeats = repeatsIn(byDelivery, history);
  const { breaks, late } = orderOf(history, expected, byDelivery, repeats);
  const violations = [
    ...lost(expected, byDelivery, dead),
    ...unexplained(repeats),
    ...breaks,
    ...wrongPayloads(byDelivery, expected),
    ...phantoms(byDelivery, expected),
    ...deadWithoutCause(dead, byDelivery, expected),
    ...history.settledTwice.map((id) => violation('settledTwice', id, 'two outcomes were written')),
  ];
  const counts = Object.fromEntries(
    broken.map((kind) => [kind, violations.filter((one) => one.kind === kind).length]),
  ) as Record<(typeof broken)[number], number>;
  if (history.leftovers > 0)
    violations.push(violation('leftovers', '', `${history.leftovers} rows stayed in the queue`));
  return {
    ...counts,
    leftovers: history.leftovers,
    deliveries: history.expected.filter(({ optional }) => !optional).length,
    requests: history.arrivals.length,
    duplicates: repeats.size,
    lateRepeats: late,
    deadLetters: history.deadLetters.length,
    violations,
  };
}

type ByDelivery = ReadonlyMap<string, readonly Arrival[]>;

function group(arrivals: readonly Arrival[]): ByDelivery {
  const groups = new Map<string, Arrival[]>();
  for (const arrival of arrivals) {
    const those = groups.get(arrival.delivery);
    if (those === undefined) groups.set(arrival.delivery, [arrival]);
    else those.push(arrival);
  }
  return groups;
}

const violation = (kind: Violation['kind'], delivery: string, text: string): Violation => ({ kind, delivery, text });

function lost(
  expected: ReadonlyMap<string, Expected>,
  byDelivery: ByDelivery,
  dead: ReadonlyMap<string, DeadLetter>,
): Violation[] {
  return [...expected.values()]
    .filter(({ optional, delivery }) => !optional && !dead.has(delivery) && !isAccepted(byDelivery, delivery))
    .map(({ delivery }) => violation('lost', delivery, 'never accepted, and no dead letter'));
}

const isAccepted = (byDelivery: ByDelivery, delivery: string) =>
  byDelivery.get(delivery)?.some(({ accepted }) => accepted) === true;

interface Repeat {
  readonly of: Arrival;
  readonly fault: Fault | null;
  /** The one request that a process was about to begin when it was stopped. */
  readonly atWaking: boolean;
}

/** Requests for what had been accepted already, with the fault that explains each. */
function repeatsIn(byDelivery: ByDelivery, history: History): ReadonlyMap<Arrival, Repeat> {
  const faults = history.repeats === 'none' ? [] : history.faults.filter(({ permits }) => permits !== 'nothing');
  const repeats = new Map<Arrival, Repeat>();
  const woken = new Set<Fault>();
  for (const arrivals of byDelivery.values()) {
    let accepted: Arrival | null = null;
    // By their beginning: a receiver that was busy may read a retry before the request that was given up for it.
    for (const arrival of arrivals.toSorted((a, b) => a.begunAt - b.begunAt)) {
      if (accepted !== null) {
        const first = accepted;
        const settledAt = history.settledAt.get(arrival.messageId) ?? Number.POSITIVE_INFINITY;
        const fault = faults.find((one) => explains(one, first, arrival, settledAt)) ?? null;
        const waking = fault === null ? faults.find((one) => !woken.has(one) && isWaking(one, arrival)) : undefined;
        if (waking !== undefined) woken.add(waking);
        repeats.set(arrival, { of: first, fault: fault ?? waking ?? null, atWaking: waking !== undefined });
      }
      if (arrival.accepted && arrival.inTime) accepted = arrival;
    }
  }
  return repeats;
}

function explains(fault: Fault, first: Arrival, repeat: Arrival, settledAt: number): boolean {
  if (repeat.begunAt > settledAt || settledAt < fault.startAt || repeat.at < fault.startAt) return false;
  // The one that was held back arrived after the one sent in its place, be that after the fault.
  if (heldBack(fault, repeat)) return true;
  return first.begunAt <= fault.endAt && (fault.instance === undefined || fault.instance === first.instance);
}

function heldBack({ permits, instance, endAt }: Fault, arrival: Arrival): boolean {
  return permits === 'late repeats' && (instance ?? arrival.instance) === arrival.instance && arrival.begunAt <= endAt;
}

/** From the check whether it may to the first byte no process can be sure to be awake. One thread: one request. */
function isWaking({ wakes, instance, endAt }: Fault, { instance: from, at }: Arrival): boolean {
  return wakes === true && instance === from && at >= endAt && at - endAt < 1_000;
}

/**
 * The next request for its delivery, begun after it, had arrived before it: because its sender gave it up, or a fault held
 * it back.
 */
function isOvertaken(arrival: Arrival, those: readonly Arrival[], faults: readonly Fault[]): boolean {
  if (!those.some((other) => other.begunAt > arrival.begunAt && other.at <= arrival.at)) return false;
  return !arrival.inTime || faults.some((fault) => fault.startAt <= arrival.at && heldBack(fault, arrival));
}

function unexplained(repeats: ReadonlyMap<Arrival, Repeat>): Violation[] {
  return [...repeats]
    .filter(([, { fault }]) => fault === null)
    .map(([repeat, { of }]) =>
      violation('unexplainedDuplicates', repeat.delivery, `${tell(of)}, and again ${tell(repeat)}`),
    );
}

function orderOf(
  history: History,
  expected: ReadonlyMap<string, Expected>,
  byDelivery: ByDelivery,
  repeats: ReadonlyMap<Arrival, Repeat>,
): { breaks: Violation[]; late: number } {
  const youngest = new Map<string, { order: number; arrival: Arrival }>();
  const breaks: Violation[] = [];
  let late = 0;
  for (const arrival of history.arrivals) {
    const { lane, order } = expected.get(arrival.delivery) ?? { lane: null, order: 0 };
    if (lane === null) continue;
    const before = youngest.get(lane);
    if (before === undefined || before.order <= order) youngest.set(lane, { order, arrival });
    else if (repeats.get(arrival)?.atWaking === true) late += 1;
    else if (isOvertaken(arrival, byDelivery.get(arrival.delivery) ?? [], history.faults)) late += 1;
    else
      breaks.push(
        violation(
          'outOfOrder',
          arrival.delivery,
          `${tell(arrival)}, after ${before.arrival.delivery} ${tell(before.arrival)}`,
        ),
      );
  }
  return { breaks, late };
}

function wrongPayloads(byDelivery: ByDelivery, expected: ReadonlyMap<string, Expected>): Violation[] {
  const owners = new Map<string, string>();
  const violations: Violation[] = [];
  for (const [delivery, arrivals] of byDelivery) {
    const digest = expected.get(delivery)?.digest;
    if (digest === undefined) continue;
    const ids = new Set(arrivals.map(({ messageId }) => messageId));
    const [id = ''] = ids;
    const wrong = arrivals.find((arrival) => arrival.digest !== digest);
    if (wrong !== undefined)
      violations.push(violation('wrongPayload', delivery, `another body than what committed, ${tell(wrong)}`));
    else if (ids.size > 1)
      violations.push(violation('wrongPayload', delivery, `repeated under another id: ${[...ids].join(', ')}`));
    else if (owners.has(id))
      violations.push(violation('wrongPayload', delivery, `has the id of ${owners.get(id)}: ${id}`));
    owners.set(id, delivery);
  }
  return violations;
}

function phantoms(byDelivery: ByDelivery, expected: ReadonlyMap<string, Expected>): Violation[] {
  return [...byDelivery]
    .filter(([delivery]) => !expected.has(delivery))
    .map(([delivery, [first]]) =>
      violation('phantoms', delivery, `never committed${first === undefined ? '' : `, ${tell(first)}`}`),
    );
}

function deadWithoutCause(
  dead: ReadonlyMap<string, DeadLetter>,
  byDelivery: ByDelivery,
  expected: ReadonlyMap<string, Expected>,
): Violation[] {
  return [...dead.values()]
    .filter(({ delivery, reason }) => {
      const arrivals = byDelivery.get(delivery) ?? [];
      if (reason === 'rejected') return !arrivals.some(({ refused }) => refused);
      if (reason === 'rule_removed') return expected.get(delivery)?.optional !== true;
      return reason !== 'exhausted' || arrivals.length === 0 || arrivals.some(({ accepted }) => accepted);
    })
    .map(({ delivery, reason }) => violation('unexplainedDeadLetters', delivery, reason));
}

function tell({ instance, at, accepted }: Arrival): string {
  return `${accepted ? 'accepted' : 'received'} from instance ${instance} at ${new Date(at).toISOString()}`;
}
