import type { Scope } from '../domain/expression.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { Action, Destination } from '../domain/rules.ts';
import type { SqlDatabase } from '../domain/sql.ts';
import type { ActionLogged } from '../domain/telemetry.ts';
import type { TraceHeaders } from '../domain/trace.ts';
import type { Deadline } from './deadline.ts';

/**
 * The contract of every action type (webhook, email, slack, …). One conformance suite, test/actions/conformance.ts,
 * runs against all of them.
 *
 * Rendering and sending are apart because they fail differently: what can't be rendered is an engine fault and is never
 * retried; what can't be sent is the receiver's business and follows its retry policy.
 */
export interface ActionType<D extends Destination = Destination, A extends Action = Action, Request = unknown> {
  readonly kind: D['kind'];
  /** Opens what the destination needs (a connection pool, say) without connecting yet: an endpoint may be away at start. */
  open(destination: D, services: ActionServices): DestinationClient<A, Request>;
}

/** What the program does for actions that can't do it themselves. */
export interface ActionServices {
  /** Writes to the process's log, without the secrets of the rules. Never throws. */
  log(entry: Omit<ActionLogged, 'type'>): void;
  /**
   * Opens a database without connecting to it.
   * @param url postgres:// URL; null: the observed one, where settlements can commit with a statement
   * @param connections at most, at the same time
   */
  openDatabase(url: string | null, connections: number): SqlDatabase;
}

export interface DestinationClient<A extends Action = Action, Request = unknown> {
  /**
   * What would be sent: pure, deterministic, without the attempt's timestamp and signature.
   * @throws ExpressionError when a template can't be evaluated or yields something that can't be sent
   */
  render(action: A, scope: Scope, messageId: string): Request;
  /**
   * One attempt. Never throws and never outlives the deadline: whatever happens is an Outcome, `timeout` included. It says
   * what happened; whether that is a success, worth another try or final is the outcome policy's to say.
   * After it settles, nothing of the attempt is left running (body drained or connection destroyed).
   */
  send(request: Request, attempt: AttemptContext): Promise<Outcome>;
  /**
   * What this attempt shares with others beyond its own event; null, or no such method: nothing, which costs nothing. The note
   * of that name is read before `send`, and an outcome with a `note` writes it.
   */
  noteOf?(request: Request): NoteKey | null;
  /**
   * For the dead letter: what was to be sent, as a JSON-serializable value without secrets.
   * @param note as the last attempt left it
   */
  describe(request: Request, note?: unknown): unknown;
  /** How several requests of one action become one; null or absent: each is sent by itself. */
  readonly combining?: Combining<Request> | null;
  /** Closes idle connections; idempotent. */
  close(): Promise<void>;
}

/**
 * Several requests in one send. What is combined is sent, described and noted like any other request; an outcome is about
 * all of them, save those in its `failedItems`. One alone is combined, too: the receiver knows one form.
 */
export interface Combining<Request> {
  /** Only requests with the same key may be combined: all there is one of must be in it, above all who receives it. */
  keyOf(request: Request): string;
  /** What it adds to the combined one, about. Bytes. */
  sizeOf(request: Request): number;
  /** The same for the same requests in the same order, its id included. @param requests one at least, of one key */
  combine(requests: readonly Request[]): Request;
}

/** A place for a note, durable and written together with the outcome. */
export interface NoteKey {
  /**
   * - `delivery`: for the retries and replays of one delivery
   * - `destination`: for all deliveries to this destination that name the key. While there is no note, one of them at a time is
   *   sent, and the others wait in the queue: whoever goes on without a note is the first, and may leave it.
   */
  readonly of: 'delivery' | 'destination';
  readonly key: string;
}

export interface AttemptContext {
  /** The one deadline of the attempt. */
  readonly deadline: Deadline;
  /** The deadline's length, for messages. Milliseconds. */
  readonly timeoutMs: number;
  /** From 1. */
  readonly number: number;
  /** For a receiver that takes part in traces; null or absent: there is none. */
  readonly trace?: TraceHeaders | null;
  /** A person asked for this delivery again. */
  readonly replay?: boolean;
  /** The note of the request's `NoteKey`; undefined or null when there is none. */
  readonly note?: unknown;
  /**
   * The settlement of this attempt as delivered, for an effect in the observed database that commits together with it.
   * Whoever has taken it, and committed, answers `delivered`; then nothing settles the delivery again.
   * @param excerpt of what the receiver said
   */
  readonly settlement?: (excerpt: string) => unknown;
}
