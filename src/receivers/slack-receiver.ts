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
import { SlackMessages } from './slack-messages.ts';
import type { SocketSet } from './socket-set.ts';

export interface ReceivedSlackMessage {
  /** From 1, in order of arrival. */
  readonly number: number;
  /** `api`: a method with a token; `incoming`: a post to /services/…. */
  readonly via: 'api' | 'incoming';
  /** null for an incoming webhook. */
  readonly method: 'chat.postMessage' | 'chat.update' | null;
  readonly path: string;
  readonly token: string | null;
  readonly channel: string | null;
  readonly text: string | null;
  /** Parsed. */
  readonly blocks: unknown;
  /** Parsed `metadata`. */
  readonly metadata: unknown;
  /** Of an edit: the message that it edits. */
  readonly ts: string | null;
  /** Of a reply: the message whose thread it goes to. */
  readonly threadTs: string | null;
  /** All arguments as they came: of a form, each is text. */
  readonly fields: Readonly<Record<string, unknown>>;
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
  /** `ok`: what Slack itself would answer. */
  readonly respond?: (message: ReceivedSlackMessage) => SlackReply | Promise<SlackReply>;
  /** Channels that there are; the others are `channel_not_found`. Default: any. */
  readonly channels?: readonly string[];
  /** So many messages of a channel in a row; the next one is told to wait (429). Default: no limit. */
  readonly limit?: { readonly messages: number; readonly perMs: number };
}

export interface SlackReceiver {
  /** For `slackApiUrl`. */
  readonly apiUrl: string;
  readonly incomingUrl: string;
  /** Every request for a message, also those that were refused. */
  readonly received: Ledger<ReceivedSlackMessage>;
  /** What stands in the channels. */
  readonly messages: SlackMessages;
  readonly connections: SocketSet;
  close(): Promise<void>;
}

const methods = ['chat.postMessage', 'chat.update'] as const;

/**
 * As much of Slack as a sender sees: `chat.postMessage` with threads, `chat.update`, incoming webhooks.
 * @throws Error when it can't listen
 */
export async function startSlackReceiver(options: SlackReceiverOptions = {}): Promise<SlackReceiver> {
  const received = new Ledger<ReceivedSlackMessage>('Slack messages');
  const messages = new SlackMessages(options.channels ?? null);
  const allowance = new Allowance(options.limit ?? null);
  const answerTo = async (message: ReceivedSlackMessage): Promise<HttpReply> => {
    const wished = (await options.respond?.(message)) ?? { ok: true };
    const reply = 'ok' in wished ? allowance.take(message) : wished;
    return 'ok' in reply ? store(message, messages) : toHttp(reply, message);
  };
  const listener = await listenHttp((request, response) => {
    readBody(request, (body) => {
      const path = request.url ?? '/';
      const via = path.startsWith('/services/') ? 'incoming' : 'api';
      const method = methods.find((name) => path.endsWith(`/${name}`)) ?? null;
      if (path.endsWith('/auth.test')) return answer(response, authTest(request));
      if (via === 'api' && method === null) return answer(response, json({ ok: false, error: 'unknown_method' }));
      const message = toMessage(request, body, { path, via, method, number: received.total + 1 });
      received.record(message);
      answerTo(message).then(
        (reply) => answer(response, reply),
        (error: unknown) => answer(response, { status: 500, body: String(error) }),
      );
    });
  }, options);
  return {
    apiUrl: `${listener.origin}/api/`,
    incomingUrl: `${listener.origin}/services/T000/B000/XXXXXXXX`,
    received,
    messages,
    connections: listener.connections,
    close: listener.close,
  };
}

/** Any bot token is somebody's here. */
function authTest({ headers }: IncomingMessage): HttpReply {
  if (!/^Bearer xoxb-/.test(headers.authorization ?? '')) return json({ ok: false, error: 'invalid_auth' });
  return json({ ok: true, team: 'Local', user: 'bot' });
}

/** How many messages of a channel are still taken. */
class Allowance {
  readonly #limit: SlackReceiverOptions['limit'] | null;
  readonly #taken = new Map<string, number[]>();

  constructor(limit: SlackReceiverOptions['limit'] | null) {
    this.#limit = limit;
  }

  take({ channel }: ReceivedSlackMessage): SlackReply {
    if (!this.#limit) return { ok: true };
    const { messages, perMs } = this.#limit;
    const now = performance.now();
    const recent = (this.#taken.get(channel ?? '') ?? []).filter((at) => at > now - perMs);
    const [oldest] = recent;
    if (recent.length >= messages && oldest !== undefined) {
      return { rateLimited: { retryAfterSeconds: Math.ceil((oldest + perMs - now) / 1000) } };
    }
    this.#taken.set(channel ?? '', [...recent, now]);
    return { ok: true };
  }
}

/** The message is in its channel, or Slack says why not. */
function store(message: ReceivedSlackMessage, messages: SlackMessages): HttpReply {
  const { via, method, text, blocks, threadTs } = message;
  if (via === 'incoming') return { body: 'ok' };
  // chat.update takes ids only.
  const channel =
    method === 'chat.update' && message.channel?.startsWith('#') ? null : messages.channelId(message.channel);
  if (channel === null) return json({ ok: false, error: 'channel_not_found' });
  if ((text ?? '') === '' && blocks === null && message.fields.attachments === undefined)
    return json({ ok: false, error: 'no_text' });
  const stored =
    method === 'chat.update'
      ? messages.edit(channel, message.ts, text, blocks)
      : messages.post(channel, { threadTs, text, blocks });
  if (typeof stored === 'string') return json({ ok: false, error: stored });
  return json({
    ok: true,
    channel,
    ts: stored.ts,
    message: { text, ...(threadTs !== null && { thread_ts: threadTs }) },
  });
}

function toMessage(
  request: IncomingMessage,
  body: string,
  about: Pick<ReceivedSlackMessage, 'path' | 'via' | 'method' | 'number'>,
): ReceivedSlackMessage {
  const isForm = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') ?? false;
  const fields = isForm ? Object.fromEntries(new URLSearchParams(body)) : (parseJson(body) as Record<string, unknown>);
  const authorization = request.headers.authorization ?? '';
  const text = (name: string) => (typeof fields[name] === 'string' ? (fields[name] as string) : null);
  return {
    ...about,
    token: authorization.startsWith('Bearer ') ? authorization.slice('Bearer '.length) : text('token'),
    channel: text('channel'),
    text: text('text'),
    blocks: unpack(fields.blocks),
    metadata: unpack(fields.metadata),
    ts: text('ts'),
    threadTs: text('thread_ts'),
    fields,
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

function toHttp(reply: Exclude<SlackReply, { ok: true }>, message: ReceivedSlackMessage): HttpReply {
  if ('http' in reply) return reply.http;
  if ('misbehave' in reply) return { misbehave: reply.misbehave };
  if ('rateLimited' in reply) {
    return json({ ok: false, error: 'ratelimited' }, 429, {
      'retry-after': String(reply.rateLimited.retryAfterSeconds),
    });
  }
  return message.via === 'incoming'
    ? { status: reply.status ?? 400, body: reply.error }
    : json({ ok: false, error: reply.error }, reply.status);
}
