import type { AttemptContext, DestinationClient, NoteKey } from '../../actions/contract.ts';
import { Deadline } from '../../actions/deadline.ts';
import { retry } from '../../actions/outcomes.ts';
import { type Delivery, messageId } from '../../domain/delivery.ts';
import type { EventRecord } from '../../domain/event.ts';
import { ExpressionError } from '../../domain/expression.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { Action } from '../../domain/rules.ts';
import { traceHeaders } from '../../domain/trace.ts';
import { createScope } from '../../expression/index.ts';
import type { NoteName, OpenedNote, Settlement } from '../../transport/contract.ts';
import type { Cancellation } from './cancellation.ts';
import { consequenceOf } from './consequence.ts';

/** What an attempt needs of the process it is made in. */
export interface Surroundings {
  readonly cancellation: Cancellation;
  readonly openNote: (delivery: Delivery, name: NoteName) => Promise<OpenedNote>;
  /** Share of traces that this process reports, 0 … 1; null: it reports none. */
  readonly tracedShare: number | null;
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
  { cancellation, openNote, tracedShare }: Surroundings,
): Promise<Settlement | 'cancelled' | 'busy'> {
  const startedAt = performance.now();
  const made = delivery.attempts + 1;
  let request: unknown;
  try {
    request = client.render(action, createScope(event), messageId(event.uid, delivery.observer, delivery.action));
  } catch (error) {
    return fault(delivery, action, error, startedAt);
  }
  const name = noteName(client.noteOf?.(request) ?? null);
  const opened = name === null || isFirst(delivery, name) ? noNote : await openNote(delivery, name);
  if (opened.busy) return 'busy';
  const trace = traceHeaders(event, delivery.id, made, tracedShare);
  const context = { timeoutMs: action.timeoutMs, number: made, trace, note: opened.value };
  const outcome = await send(client, request, context, cancellation);
  // A shutdown cut it off: not the receiver's failure, so it costs no attempt.
  if (outcome.errorClass !== null && cancellation.cancelled) return 'cancelled';
  const now = performance.now();
  const consequence = consequenceOf(outcome, delivery, action, now);
  return {
    delivery,
    ...consequence,
    startedAt,
    durationMs: now - startedAt,
    request: consequence.kind === 'dead' ? describe(client, request, outcome.note ?? opened.value) : undefined,
    holdsLane: false,
    keepAttempt: true,
    note: name === null || outcome.note === undefined ? null : { ...name, value: outcome.note },
  };
}

const noNote: OpenedNote = { busy: false, value: null };

const noteName = (note: NoteKey | null): NoteName | null =>
  note === null ? null : { key: note.key, shared: note.of === 'destination' };

/** Of its own note, a first attempt knows that there is none. */
const isFirst = ({ attempts, deadLetterId }: Delivery, { shared }: NoteName) =>
  !shared && attempts === 0 && deadLetterId === null;

async function send(
  client: DestinationClient,
  request: unknown,
  context: Omit<AttemptContext, 'deadline'>,
  cancellation: Cancellation,
): Promise<Outcome> {
  const deadline = new Deadline(context.timeoutMs);
  cancellation.add(deadline);
  try {
    return await client.send(request, { ...context, deadline });
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
function describe(client: DestinationClient, request: unknown, note: unknown): unknown {
  try {
    return client.describe(request, note);
  } catch {
    return undefined;
  }
}

/** What can't be rendered can't be sent, now or later. */
function fault(delivery: Delivery, { position }: Action, error: unknown, startedAt: number): Settlement {
  const message = error instanceof Error ? error.message : String(error);
  const expression = error instanceof ExpressionError ? error.expression.trim() : '';
  const quoted = message.includes(expression) ? '' : ` in ${JSON.stringify(expression)}`;
  const where = `${quoted} (action at line ${position.line}, column ${position.column})`;
  return {
    delivery,
    kind: 'dead',
    startedAt,
    durationMs: performance.now() - startedAt,
    delayMs: 0,
    reason: 'engine_fault',
    status: null,
    errorClass: 'template',
    errorMessage: `${message}${where}`,
    responseExcerpt: null,
    request: undefined,
    holdsLane: false,
    keepAttempt: true,
    hold: null,
  };
}
