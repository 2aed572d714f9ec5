import type { Deadline } from '../deadline.ts';
import { type Connection, type ConnectOptions, createConnection } from './connection.ts';
import { Exchange, type HttpReply, type HttpRequest } from './exchange.ts';
import { errors } from './undici.ts';

export interface HttpClientOptions extends ConnectOptions {
  /** Connections at once: one request on each, no pipelining (a slow answer would hold up the ones behind it). */
  readonly connections: number;
}

/**
 * Kept-alive connections to one origin; none is made before the first request. Redirects are never followed.
 *
 * Not undici's Pool: there, cutting one request opens another connection that nobody asked for (nodejs/undici#5845), one
 * whose connection is still being made is not cut at all (nodejs/undici#386), and close() waits for it. Here a connection
 * belongs to one request at a time, and a request that is cut takes its connection with it.
 */
export class HttpClient {
  /** `host` or `host:port`, for messages. */
  readonly host: string;
  readonly #origin: string;
  readonly #options: HttpClientOptions;
  /** The one used last is used next, so that those not needed reach their keep-alive timeout. */
  readonly #idle: Connection[] = [];
  #busy = 0;
  /** Requests without a connection, in order. */
  readonly #waiting = new Set<Exchange>();
  #whenDrained: (() => void) | null = null;
  #closing: Promise<void> | null = null;

  constructor(url: URL, options: HttpClientOptions) {
    this.host = url.host;
    this.#origin = url.origin;
    this.#options = options;
  }

  /** Never rejects and never outlives the deadline. */
  request(request: HttpRequest, deadline: Deadline): Promise<HttpReply> {
    return new Promise((resolve) => {
      const exchange = new Exchange(request, deadline, (reply, isClean) => {
        this.#release(exchange, isClean);
        resolve(reply);
      });
      if (deadline.passed) exchange.deadlinePassed();
      else if (this.#closing !== null) exchange.fail(new errors.ClientClosedError());
      else if (this.#busy < this.#options.connections) this.#start(exchange);
      else this.#waiting.add(exchange);
    });
  }

  /** Lets what has begun finish (each has its deadline), then closes all connections; idempotent. */
  close(): Promise<void> {
    this.#closing ??= new Promise<void>((resolve) => {
      this.#whenDrained = resolve;
    });
    this.#finishClosing();
    return this.#closing;
  }

  #start(exchange: Exchange): void {
    this.#busy += 1;
    exchange.start(this.#idle.pop() ?? createConnection(this.#origin, this.#options));
  }

  #release(exchange: Exchange, isClean: boolean): void {
    const { connection } = exchange;
    if (connection === null) {
      this.#waiting.delete(exchange);
      return;
    }
    this.#busy -= 1;
    if (isClean) this.#idle.push(connection);
    else connection.cut();
    const [next] = this.#waiting;
    if (next === undefined) return this.#finishClosing();
    this.#waiting.delete(next);
    this.#start(next);
  }

  #finishClosing(): void {
    if (this.#whenDrained === null || this.#busy > 0) return;
    for (const connection of this.#idle.splice(0)) connection.cut();
    this.#whenDrained();
  }
}
