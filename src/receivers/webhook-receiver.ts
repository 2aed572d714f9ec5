import type { IncomingHttpHeaders } from 'node:http';
import { answer, type HttpReply, type ListenOptions, listenHttp, readBody } from './http-listener.ts';
import { Ledger } from './ledger.ts';
import type { SocketSet } from './socket-set.ts';

export interface ReceivedWebhook {
  /** From 1, in order of arrival. */
  readonly number: number;
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** `webhook-id`: the same for every repeat. */
  readonly messageId: string | null;
  readonly body: string;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
}

export interface WebhookReceiverOptions extends ListenOptions {
  /** Default: 204 for everything. */
  readonly respond?: (request: ReceivedWebhook) => HttpReply | Promise<HttpReply>;
  /** How many requests are kept; default: all. */
  readonly capacity?: number;
}

export interface WebhookReceiver {
  readonly url: string;
  readonly received: Ledger<ReceivedWebhook>;
  readonly connections: SocketSet;
  close(): Promise<void>;
}

const accepted: HttpReply = { status: 204 };

/** A real HTTP endpoint on this machine, for demos and tests. @throws Error when it can't listen */
export async function startWebhookReceiver(options: WebhookReceiverOptions = {}): Promise<WebhookReceiver> {
  const received = new Ledger<ReceivedWebhook>('webhooks', options.capacity);
  const { respond } = options;
  const listener = await listenHttp((request, response) => {
    readBody(request, (body) => {
      const messageId = request.headers['webhook-id'];
      const webhook: ReceivedWebhook = {
        number: received.total + 1,
        method: request.method ?? '',
        path: request.url ?? '/',
        headers: request.headers,
        messageId: typeof messageId === 'string' ? messageId : null,
        body,
        receivedAt: Date.now(),
      };
      received.record(webhook);
      const reply = respond === undefined ? accepted : respond(webhook);
      if (!(reply instanceof Promise)) return answer(response, reply);
      reply.then(
        (resolved) => answer(response, resolved),
        (error: unknown) => answer(response, { status: 500, body: String(error) }),
      );
    });
  }, options);
  return {
    url: listener.origin,
    received,
    connections: listener.connections,
    close: listener.close,
  };
}
