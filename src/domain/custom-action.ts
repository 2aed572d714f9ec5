import type { EventRecord } from './event.ts';
import type { LogLevel } from './telemetry.ts';

/**
 * An action of your own: what a module named by `module:` in a destination exports as its default.
 *
 * It runs inside the process, with all of its rights: read the code of a module as you would read this program's.
 */
export interface CustomAction<Options = unknown, Input = unknown, Request = Input> {
  /**
   * Called when the rules are taken up, and again when the module or its options change. Connect in `send`, not here: the
   * receiver may be away. May throw: then the rules are refused with that message.
   *
   * @param options what the file says under `with:`
   */
  open(options: Options, tools: CustomTools): CustomDestination<Input, Request>;
}

export interface CustomTools {
  /** Writes to the log of the process, without the secrets of the file. */
  log(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface CustomDestination<Input = unknown, Request = Input> {
  /**
   * What is to be sent, at once and without side effects; without this method it is the input. What it throws makes a dead
   * letter at once (`engine_fault`): the same input would fail again.
   *
   * @param input what the action says under `input:`, by default the event envelope. Numbers are JavaScript's, integers
   * beyond 2^53 bigints
   */
  render?(input: Input, context: CustomContext): Request;
  /**
   * One attempt. What it throws is tried again, and so is what it doesn't answer before its deadline; a late answer counts
   * for nothing.
   */
  send(request: Request, attempt: CustomAttempt): CustomOutcome | Promise<CustomOutcome>;
  /** Nothing is sent any more. */
  close?(): void | Promise<void>;
}

export interface CustomContext {
  /** The same for every attempt and replay of this delivery: let the receiver drop repeats by it. */
  readonly id: string;
  readonly observer: string;
  readonly action: string;
  /** Rows and payloads are JSON texts, with every number as PostgreSQL printed it. */
  readonly event: EventRecord;
}

export interface CustomAttempt {
  /** Aborted at the deadline, and earlier when the process stops: pass it on. */
  readonly signal: AbortSignal;
  readonly deadline: Date;
  /** As in `CustomContext`. */
  readonly id: string;
  /** From 1. */
  readonly attempt: number;
}

interface CustomReply {
  /** A status of the receiver's protocol, for the history. */
  readonly status?: number;
  /** What the receiver said, for the history; its beginning is kept. */
  readonly response?: string;
}

interface CustomFailure extends CustomReply {
  readonly message: string;
  /** Stable, for filters and policies, which see it with `module_` before it: lower-case letters, digits and `_`. */
  readonly errorClass?: string;
}

export type CustomOutcome =
  | ({ readonly outcome: 'delivered' } & CustomReply)
  /** Tried again as `retry` says, after `retryAfterMs` at the earliest. */
  | ({ readonly outcome: 'retry'; readonly retryAfterMs?: number } & CustomFailure)
  /** A dead letter at once. */
  | ({ readonly outcome: 'rejected' } & CustomFailure);

/** The module of a destination. */
export interface ModuleReference {
  /** As the file writes it. */
  readonly path: string;
  /** file:// URL, another one when the file's content changes. */
  readonly url: string;
  /** null until it is loaded. */
  readonly action: CustomAction | null;
}
