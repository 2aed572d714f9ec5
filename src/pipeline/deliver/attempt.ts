import type { AttemptContext, DestinationClient, NoteKey } from '../../actions/contract.ts';
import { Deadline } from '../../actions/deadline.ts';
import { retry } from '../../actions/outcomes.ts';
import { renderDelivery } from '../../actions/rendering.ts';
import { depthOf } from '../../domain/causation.ts';
import { type Delivery, isReplay } from '../../domain/delivery.ts';
import type { EventRecord } from '../../domain/event.ts';
import { ExpressionError } from '../../domain/expression.ts';
import type { DeadLetterReason, Outcome } from '../../domain/outcome.ts';
import type { Action } from '../../domain/rules.ts';
import { traceHeaders } from '../../domain/trace.ts';
import type { NoteName, OpenedNote, Settlement } from '../../transport/contract.ts';
import type { Cancellation } from './cancellation.ts';
import { consequenceOf } from './consequence.ts';
import type { SettledTogether } from './settled-together.ts';

/** What an attempt needs of the process it is made in. */
export interface Surroundings {
  readonly cancellation: Cancellation;
  readonly openNote: (delivery: Delivery, name: NoteName) => Promise<OpenedNote>;
  /** Share of traces that this process reports, 0 … 1; null: it reports none. */
  readonly tracedShare: number | null;
  /** Of `sql` actions that follow from one another. */
  readonly maxDepth: number;
}

/**
 * One attempt: render, send, and say what is to become of the delivery. `busy`: another delivery is about to leave the note that
 * this one needs.
 * @throws only what `openNote` throws
 */
export async function attempt(
  delivery: Delivery,
  event: EventRecord,
  action: Action,
  client: DestinationClient,
  { cancellation, openNote, tracedShare, maxDepth }: Surroundings,
  together: SettledTogether,
): Promise<Settlement | 'cancelled' | 'busy'> {
  const startedAt = performance.now();
  const made = delivery.attempts + 1;
  let request: unknown;
  try {
    request = renderDelivery(client, action, event, delivery.observer, isReplay(delivery));
  } catch (error) {
    return unsent(delivery, startedAt, 'engine_fault', 'template', faultMessage(action, error));
  }
  if (goesRound(delivery, event, action, maxDepth))
    return unsent(delivery, startedAt, 'loop', 'loop', loopMessage(maxDepth), describe(client, request, null));
  const name = noteName(client.noteOf?.(request) ?? null);
  const opened = name === null || isFirst(delivery, name) ? noNote : await openNote(delivery, name);
  if (opened.busy) return 'busy';
  const trace = traceHeaders(event, delivery.id, made, tracedShare);
  const settlement = (excerpt: string) => together.take(delivery, startedAt, excerpt);
  const { timeoutMs } = action;
  const replay = isReplay(delivery);
  const context = {
    deadline: new Deadline(timeoutMs),
    timeoutMs,
    number: made,
    replay,
    trace,
    note: opened.value,
    settlement,
  };
  const outcome = await send(client, request, context, cancellation);
  if (outcome.errorClass === null && together.settlement !== null) return together.settlement;
  // A shutdown cut it off: not the receiver's failure, so it costs no attempt.
  if (outcome.errorClass !== null && cancellation.cancelled) return 'cancelled';
  const now = performance.now();
  const consequence = consequenceOf(outcome, delivery, action, now);
  return {
    delivery,
    // Written out: spreading costs a microsecond, and this is done for every delivery.
    kind: consequence.kind,
    delayMs: consequence.delayMs,
    reason: consequence.reason,
    status: consequence.status,
    errorClass: consequence.errorClass,
    errorMessage: consequence.errorMessage,
    responseExcerpt: consequence.responseExcerpt,
    hold: consequence.hold,
    startedAt,
    durationMs: now - startedAt,
    request: consequence.kind === 'dead' ? describe(client, request, outcome.note ?? opened.value) : undefined,
    holdsLane: false,
    keepAttempt: true,
    note: name === null || outcome.note === undefined ? null : { ...name, value: outcome.note },
  };
}

export const noNote: OpenedNote = { busy: false, value: null };

export const noteName = (note: NoteKey | null): NoteName | null =>
  note === null ? null : { key: note.key, shared: note.of === 'destination' };

/** Of its own note, a first attempt knows that there is none. */
export const isFirst = ({ attempts, deadLetterId }: Delivery, { shared }: NoteName) =>
  !shared && attempts === 0 && deadLetterId === null;

export async function send(
  client: DestinationClient,
  request: unknown,
  context: AttemptContext,
  cancellation: Cancellation,
): Promise<Outcome> {
  const { deadline } = context;
  cancellation.add(deadline);
  try {
    return await client.send(request, context);
  } catch (error) {
    // The contract says it never throws; if it does, the delivery must not vanish with it.
    const message = error instanceof Error ? error.message : String(error);
    return retry({ errorClass: 'internal', message, status: null, responseExcerpt: null });
  } finally {
    deadline.clear();
    cancellation.delete(deadline);
  }
}

/** A description that fails must not take the outcome with it. */
export function describe(client: DestinationClient, request: unknown, note: unknown): unknown {
  try {
    return client.describe(request, note);
  } catch {
    return undefined;
  }
}

/** A person who replays a dead letter wants it done: then counting begins anew. */
function goesRound({ deadLetterId }: Delivery, event: EventRecord, { kind }: Action, maxDepth: number): boolean {
  return kind === 'sql' && deadLetterId === null && depthOf(event) >= maxDepth;
}

const loopMessage = (maxDepth: number) =>
  `not run: ${maxDepth} sql actions in a row led to this event, each by what the one before it wrote (settings.max_depth); a replay runs it, and begins to count anew`;

export function faultMessage({ position }: Action, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ExpressionError && error.place !== null) return `${error.place}  ${message}`;
  const expression = error instanceof ExpressionError ? error.expression.trim() : '';
  const quoted = message.includes(expression) ? '' : ` in ${JSON.stringify(expression)}`;
  return `${message}${quoted} (action at line ${position.line}, column ${position.column})`;
}

/** What can't be rendered can't be sent, now or later; nor must what goes round and round. */
export function unsent(
  delivery: Delivery,
  startedAt: number,
  reason: DeadLetterReason,
  errorClass: string,
  errorMessage: string,
  request?: unknown,
): Settlement {
  return {
    delivery,
    kind: 'dead',
    startedAt,
    durationMs: performance.now() - startedAt,
    delayMs: 0,
    reason,
    status: null,
    errorClass,
    errorMessage,
    responseExcerpt: null,
    request,
    holdsLane: false,
    keepAttempt: true,
    hold: null,
  };
}
