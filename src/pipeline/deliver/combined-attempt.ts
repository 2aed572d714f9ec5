import type { Combining, DestinationClient } from '../../actions/contract.ts';
import { Deadline } from '../../actions/deadline.ts';
import { renderDelivery } from '../../actions/rendering.ts';
import { isReplay } from '../../domain/delivery.ts';
import type { EventRecord } from '../../domain/event.ts';
import type { Gathering } from '../../domain/gathering.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { Action } from '../../domain/rules.ts';
import type { ClaimedDelivery, Settlement } from '../../transport/contract.ts';
import { describe, faultMessage, isFirst, noNote, noteName, type Surroundings, send, unsent } from './attempt.ts';
import { consequenceOf } from './consequence.ts';

/*
 * Several deliveries in one request. They are rendered one by one, so that one that can't be takes nobody with it; sorted by what
 * they may go with; and sent as one. What comes of that is the outcome of each, and each is settled by itself.
 */

/** A delivery that is about to go. All of one request have the same action. */
export interface Member {
  readonly claimed: ClaimedDelivery;
  readonly event: EventRecord;
  readonly action: Action;
}

export interface Rendered extends Member {
  readonly request: unknown;
  /** What goes in one request has the same. */
  readonly key: string;
  readonly bytes: number;
}

/** The request of one of them, or its dead letter. */
export function renderMember(
  member: Member,
  client: DestinationClient,
  combining: Combining<unknown>,
): Rendered | Settlement {
  const startedAt = performance.now();
  const { claimed, event, action } = member;
  const { delivery } = claimed;
  try {
    const request = renderDelivery(client, action, event, delivery.observer, isReplay(delivery));
    return { ...member, request, key: combining.keyOf(request), bytes: combining.sizeOf(request) };
  } catch (error) {
    return unsent(delivery, startedAt, 'engine_fault', 'template', faultMessage(action, error));
  }
}

/** Those that go with the first one, as many as a request holds; and all others. */
export function splitOff(members: readonly Rendered[], { most, maxBytes }: Gathering): [Rendered[], Rendered[]] {
  const together: Rendered[] = [];
  const others: Rendered[] = [];
  let bytes = 0;
  let isFull = false;
  for (const member of members) {
    const isOfThem = member.key === (together[0] ?? member).key;
    // In their order: a small one must not pass by a large one that found no room.
    isFull ||= isOfThem && together.length > 0 && (together.length >= most || bytes + member.bytes > maxBytes);
    if (!isOfThem || isFull) {
      others.push(member);
      continue;
    }
    together.push(member);
    bytes += member.bytes;
  }
  return [together, others];
}

/**
 * One attempt for all of them. `busy`: another delivery is about to leave the note that they need.
 * @throws only what `openNote` throws
 */
export async function attemptCombined(
  members: readonly [Rendered, ...Rendered[]],
  client: DestinationClient,
  combining: Combining<unknown>,
  { cancellation, openNote }: Surroundings,
): Promise<readonly Settlement[] | 'cancelled' | 'busy'> {
  const startedAt = performance.now();
  const [{ action, claimed }] = members;
  const { delivery } = claimed;
  const request = combining.combine(members.map((member) => member.request));
  const name = noteName(client.noteOf?.(request) ?? null);
  const opened = name === null || isFirst(delivery, name) ? noNote : await openNote(delivery, name);
  if (opened.busy) return 'busy';
  const { timeoutMs } = action;
  const context = {
    deadline: new Deadline(timeoutMs),
    timeoutMs,
    number: delivery.attempts + 1,
    replay: isReplay(delivery),
    note: opened.value,
  };
  const outcome = await send(client, request, context, cancellation);
  // A shutdown cut it off: not the receiver's failure, so it costs no attempt.
  if (outcome.errorClass !== null && cancellation.cancelled) return 'cancelled';
  const endedAt = performance.now();
  const note = name === null || outcome.note === undefined ? null : { ...name, value: outcome.note };
  const settle = settling(outcome, startedAt, endedAt, client);
  return members.map((member, position) => settle(member, position, position === 0 ? note : null));
}

/** One draw for all: what failed together is due together, and so goes together again. */
function settling(outcome: Outcome, startedAt: number, endedAt: number, client: DestinationClient) {
  const draw = Math.random();
  return (
    { claimed, action, request }: Rendered,
    position: number,
    note: NonNullable<Settlement['note']> | null,
  ): Settlement => {
    const own = outcome.failedItems?.get(position) ?? outcome;
    const consequence = consequenceOf(own, claimed.delivery, action, endedAt, () => draw);
    return {
      delivery: claimed.delivery,
      ...consequence,
      startedAt,
      durationMs: endedAt - startedAt,
      request: consequence.kind === 'dead' ? describe(client, request, outcome.note) : undefined,
      holdsLane: false,
      keepAttempt: true,
      note,
    };
  };
}
