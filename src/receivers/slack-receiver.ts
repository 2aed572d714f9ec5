import type { IncomingMessage } from 'node:http';
import {
  answer,
  type HttpReply,
  type ListenOptions,
  listenHttp,
  type Misbehaviour,
  readBody,
} from './http-listener.ts';
import { Ledger } from './ledger.ts';
import type { SocketSet } from './socket-set.ts';

export interface ReceivedSlackMessage {
  /** From 1, in order of arrival. */
  readonly number: number;
  /** `api`: chat.postMessage with a token; `incoming`: a post to /services/…. */
  readonly via: 'api' | 'incoming';
  readonly path: string;
  readonly token: string | null;
  readonly channel: string | null;
  readonly text: string | null;
  /** Parsed. */
  readonly blocks: unknown;
  /** Parsed `metadata`. */
  readonly metadata: unknown;
  readonly receivedAt: number;
}

export type SlackReply =
  | { readonly ok: true }
  /** A Slack error code, e.g. `channel_not_found`: `{ok: false}` for the API, status 400 and plain text for an incoming webhook. */
  | { readonly error: string; readonly status?: number }
  | { readonly rateLimited: { readonly retryAfterSeconds: number } }
  | { readonly misbehave: Misbehaviour }
  | { readonly http: HttpReply };

export interface SlackReceiverOptions extends ListenOptions {
  readonly respond?: (message: ReceivedSlackMessage) => SlackReply;
}

export interface SlackReceiver {
  /** For `slackApiUrl`. */
  readonly apiUrl: string;
  readonly incomingUrl: string;
  readonly received: Ledger<ReceivedSlackMessage>;
  readonly connections: SocketSet;
  close(): Promise<void>;
}

/** As much of Slack as a sender sees: `chat.postMessage` and incoming webhooks. @throws Error when it can't listen */
export async function startSlackReceiver(options: SlackReceiverOptions = {}): Promise<SlackReceiver> {
  const received = new Ledger<ReceivedSlackMessage>('Slack messages');
  const listener = await listenHttp((request, response) => {
    readBody(request, (body) => {
      const path = request.url ?? '/';
      const via = path.startsWith('/services/') ? 'incoming' : 'api';
      if (via === 'api' && !path.endsWith('/chat.postMessage')) {
        return answer(response, json({ ok: false, error: 'unknown_method' }));
      }
      const message = toMessage(request, body, path, via, received.total + 1);
      received.record(message);
      answer(response, toHttp(options.respond?.(message) ?? { ok: true }, message));
    });
  }, options);
  return {
    apiUrl: `${listener.origin}/api/`,
    incomingUrl: `${listener.origin}/services/T000/B000/XXXXXXXX`,
    received,
    connections: listener.connections,
    close: listener.close,
  };
}

function toMessage(
  request: IncomingMessage,
  body: string,
  path: string,
  via: 'api' | 'incoming',
  number: number,
): ReceivedSlackMessage {
  const isForm = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') ?? false;
  const fields = isForm ? Object.fromEntries(new URLSearchParams(body)) : (parseJson(body) as Record<string, unknown>);
  const authorization = request.headers.authorization ?? '';
  const text = (name: string) => (typeof fields[name] === 'string' ? (fields[name] as string) : null);
  return {
    number,
    via,
    path,
    token: authorization.startsWith('Bearer ') ? authorization.slice('Bearer '.length) : text('token'),
    channel: text('channel'),
    text: text('text'),
    blocks: unpack(fields.blocks),
    metadata: unpack(fields.metadata),
    receivedAt: Date.now(),
  };
}

/** In a form, structured fields travel as JSON text. */
function unpack(value: unknown): unknown {
  if (value === undefined) return null;
  return typeof value === 'string' ? parseJson(value) : value;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function json(value: unknown, status = 200, headers: Record<string, string> = {}): HttpReply {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value) };
}

function toHttp(reply: SlackReply, message: ReceivedSlackMessage): HttpReply {
  if ('http' in reply) return reply.http;
  if ('misbehave' in reply) return { misbehave: reply.misbehave };
  if ('rateLimited' in reply) {
    return json({ ok: false, error: 'ratelimited' }, 429, {
      'retry-after': String(reply.rateLimited.retryAfterSeconds),
    });
  }
  if ('error' in reply) {
    return message.via === 'incoming'
      ? { status: reply.status ?? 400, body: reply.error }
      : json({ ok: false, error: reply.error }, reply.status);
  }
  if (message.via === 'incoming') return { body: 'ok' };
  const ts = `${Math.floor(message.receivedAt / 1000)}.${String(message.number).padStart(6, '0')}`;
  return json({ ok: true, channel: message.channel, ts });
}
