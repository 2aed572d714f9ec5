import type { Dispatcher } from 'undici';
import type { Deadline, DeadlineWatcher } from '../deadline.ts';
import type { Connection } from './connection.ts';

/** An answer is read to its end up to here, so that the connection can be used again; a longer one costs the connection. */
const drainedBytes = 64 * 1024;

export interface HttpRequest {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'GET';
  /** Path and query. */
  readonly path: string;
  /** By name, or names and values in turn. */
  readonly headers: Record<string, string> | string[];
  /** null: none, and nothing said of its length. */
  readonly body: Buffer | null;
  /** How much of the answer is kept. */
  readonly keepBytes: number;
}

export interface HttpReply {
  /** `timed-out`: by the deadline. `failed`: see `error`. Both may have a status already. */
  readonly end: 'complete' | 'timed-out' | 'failed';
  readonly status: number | null;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The beginning of the answer, at most `keepBytes`. */
  readonly body: Buffer;
  readonly error: Error | null;
}

const nothing = Buffer.alloc(0);

/**
 * One request and its answer, settled once: by the end of the answer, by a fault, or by the deadline, whichever is first.
 *
 * A handler for undici's `dispatch` and not its `request`: that one makes a stream of every answer, and does not let
 * itself be cut off while a connection is being made.
 */
export class Exchange implements Dispatcher.DispatchHandler, DeadlineWatcher {
  /** null until it has begun. */
  connection: Connection | null = null;
  readonly #request: HttpRequest;
  readonly #deadline: Deadline;
  readonly #onSettled: (reply: HttpReply, isClean: boolean) => void;
  #settled = false;
  #status: number | null = null;
  #headers: HttpReply['headers'] = {};
  #chunks: Buffer[] | null = null;
  #received = 0;

  /** @param onSettled is called once; `isClean`: another exchange may follow on the same connection */
  constructor(request: HttpRequest, deadline: Deadline, onSettled: (reply: HttpReply, isClean: boolean) => void) {
    this.#request = request;
    this.#deadline = deadline;
    this.#onSettled = onSettled;
    // The object itself watches: no closure to make for every request.
    deadline.watch(this);
  }

  start(connection: Connection): void {
    this.connection = connection;
    const { method, path, headers, body } = this.#request;
    try {
      connection.client.dispatch({ method, path, headers, body, headersTimeout: 0, bodyTimeout: 0 }, this);
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  fail(error: Error): void {
    this.#settle('failed', false, error);
  }

  deadlinePassed(): void {
    this.#settle('timed-out', false);
  }

  /** Tells undici that this is a handler of its present kind. */
  onRequestStart(): void {}

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: HttpReply['headers']): void {
    // 1xx are news, not answers.
    if (status < 200) return;
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { keepBytes } = this.#request;
    const missing = keepBytes - this.#received;
    this.#received += chunk.length;
    if (missing > 0) {
      const part = chunk.subarray(0, missing);
      if (this.#chunks === null) this.#chunks = [part];
      else this.#chunks.push(part);
    }
    if (this.#received > Math.max(drainedBytes, keepBytes)) this.#settle('complete', false);
  }

  onResponseEnd(): void {
    this.#settle('complete', true);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(this.connection?.fault ?? error);
  }

  #settle(end: HttpReply['end'], isClean: boolean, error: Error | null = null): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#deadline.unwatch(this);
    const body = this.#chunks === null ? nothing : Buffer.concat(this.#chunks);
    this.#onSettled({ end, status: this.#status, headers: this.#headers, body, error }, isClean);
  }
}
