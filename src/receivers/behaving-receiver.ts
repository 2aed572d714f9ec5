import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { type Answer, chooseAnswer, giveAnswer, isEndless } from './behaving-answer.ts';
import { type Behaviour, behaviourOfPath, friendly } from './behaviour.ts';
import { type ListenOptions, listenHttp } from './http-listener.ts';
import { Ledger } from './ledger.ts';
import type { SocketSet } from './socket-set.ts';

export interface Arrival {
  /** From 1, in order of arrival. */
  readonly number: number;
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** `webhook-id`. */
  readonly messageId: string | null;
  /** How often this message has come to this path, from 1; without an id, how often anything has. */
  readonly attempt: number;
  /** The very bytes; empty when the connection was cut before they were read. */
  readonly body: Buffer;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
  readonly answer: Answer;
  /** When nothing more happens by itself: the answer is out or cut, or will never come to an end. */
  readonly over: Promise<void>;
  /** When the connection or the exchange has ended: bytes that went out on the connection. */
  readonly sent: Promise<number>;
}

export interface BehavingReceiverOptions extends ListenOptions {
  /** For whatever a path says nothing about. Default: 204. */
  readonly behaviour?: Behaviour;
  /** In [0, 1), for `failRate`. */
  readonly random?: () => number;
  /** How many arrivals are kept; default: all. */
  readonly capacity?: number;
}

export interface BehavingReceiver {
  /** Without a slash at the end. */
  readonly url: string;
  readonly received: Ledger<Arrival>;
  readonly connections: SocketSet;
  close(): Promise<void>;
}

/** A receiver that answers as it is told to, by its options or by the path of the request. @throws Error when it can't listen */
export async function startBehavingReceiver(options: BehavingReceiverOptions = {}): Promise<BehavingReceiver> {
  const received = new Ledger<Arrival>('requests', options.capacity);
  const turns = new Turns();
  const { behaviour: base = friendly, random = Math.random } = options;
  const take = (request: IncomingMessage, response: ServerResponse, body: Buffer, behaviour: Behaviour) => {
    const path = request.url ?? '/';
    const { 'webhook-id': id } = request.headers;
    const messageId = typeof id === 'string' ? id : null;
    const attempt = turns.next(path, messageId);
    const answer = chooseAnswer(behaviour, attempt, random);
    const closed = new Promise<number>((resolve) => {
      const { socket } = request;
      response.once('close', () => resolve(socket.bytesWritten));
    });
    received.record({
      number: received.total + 1,
      method: request.method ?? '',
      path,
      headers: request.headers,
      messageId,
      attempt,
      body,
      receivedAt: Date.now(),
      answer,
      over: isEndless(answer) ? Promise.resolve() : closed.then(() => {}),
      sent: closed,
    });
    giveAnswer(request, body.toString('utf8'), response, answer);
  };
  const listener = await listenHttp((request, response) => {
    const behaviour = behaviourOfPath(base, request.url ?? '/');
    if (behaviour.fault === 'reset-mid-request') return take(request, response, Buffer.alloc(0), behaviour);
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => take(request, response, Buffer.concat(chunks), behaviour));
  }, options);
  return { url: listener.origin, received, connections: listener.connections, close: listener.close };
}

/** How often each message has come, of those that came last. */
class Turns {
  readonly #counts = new Map<string, number>();

  next(path: string, messageId: string | null): number {
    const key = `${messageId ?? ''} ${path}`;
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.delete(key);
    this.#counts.set(key, count);
    const [oldest] = this.#counts.keys();
    if (this.#counts.size > 10_000 && oldest !== undefined) this.#counts.delete(oldest);
    return count;
  }
}
