import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline, Readable } from 'node:stream';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { parseDuration } from '../config/units.ts';
import type { AnswerBody, Behaviour } from './behaviour.ts';

/** Part of an answer that breaks off. */
const half = '{"half":';

/** What one answer is, after the turn of the message and the dice. */
export interface Answer extends Behaviour {
  readonly status: number;
}

/** @param attempt of this message, from 1; @param random in [0, 1) */
export function chooseAnswer(behaviour: Behaviour, attempt: number, random: () => number): Answer {
  const { statuses, failRate, body, fault, headers } = behaviour;
  if (failRate > 0 && random() < failRate) return { ...behaviour, status: 503 };
  const fitting = headers.location !== undefined ? 308 : body === null && fault === null ? 204 : 200;
  return { ...behaviour, status: statuses?.[Math.min(attempt, statuses.length) - 1] ?? fitting };
}

/** In a word or two, for a log. */
export function answerInWords({ status, fault, body, delayMs }: Answer): string {
  const how = [fault, body === null ? null : bodyInWords(body), delayMs > 0 ? `after ${delayMs} ms` : null];
  const parts = how.filter((part) => part !== null);
  const isAnswered = fault !== 'hang-before-headers' && fault !== 'reset-mid-request';
  return [...(isAnswered ? [String(status)] : []), ...parts].join(', ');
}

const bodyInWords = (body: AnswerBody) => (body.kind === 'text' ? null : body.kind);

/** Whether the sender, and not we, must end it. */
export function isEndless({ fault, body }: Answer): boolean {
  return fault === 'hang-before-headers' || fault === 'hang-after-headers' || body?.kind === 'drip';
}

export function giveAnswer(request: IncomingMessage, text: string, response: ServerResponse, answer: Answer): void {
  const now = () => {
    for (const status of answer.informational) inform(response, status);
    answerNow(request, text, response, answer);
  };
  if (answer.delayMs <= 0) return now();
  const timer = setTimeout(now, answer.delayMs);
  response.once('close', () => clearTimeout(timer));
}

function inform(response: ServerResponse, status: number): void {
  if (status === 100) response.writeContinue();
  else if (status === 102) response.writeProcessing();
  else response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
}

function answerNow(request: IncomingMessage, text: string, response: ServerResponse, answer: Answer): void {
  const { fault, status } = answer;
  const headers = resolved(answer.headers, request);
  switch (fault) {
    case 'hang-before-headers':
      return;
    case 'hang-after-headers':
      response.writeHead(status, headers).flushHeaders();
      return;
    case 'reset-mid-request':
      request.socket.resetAndDestroy();
      return;
    case 'reset-mid-response':
    case 'truncate': {
      const end = () => (fault === 'truncate' ? response.socket?.destroy() : response.socket?.resetAndDestroy());
      response.writeHead(status, { ...headers, 'content-length': '1000' }).write(half, end);
      return;
    }
    case null:
      writeBody(request, text, response, { ...answer, headers });
  }
}

function writeBody(request: IncomingMessage, text: string, response: ServerResponse, answer: Answer): void {
  const { status, headers, body } = answer;
  switch (body?.kind) {
    case undefined:
      response.writeHead(status, headers).end();
      return;
    case 'text':
      response.writeHead(status, headers).end(body.text);
      return;
    case 'echo':
      response.writeHead(status, headers).end(JSON.stringify({ headers: request.headers, body: text }));
      return;
    case 'invalid-utf8':
      response
        .writeHead(status, headers)
        .end(Buffer.from([0x61, 0x00, 0xff, 0xfe, 0xc3, 0x28, 0xed, 0xa0, 0x80, 0x7a]));
      return;
    case 'gzip-bomb':
      void gzipBomb().then((packed) =>
        response.writeHead(status, { ...headers, 'content-encoding': 'gzip' }).end(packed),
      );
      return;
    case 'huge':
      response.writeHead(status, { ...headers, 'content-length': String(body.bytes) });
      // Its error is that the sender went away.
      pipeline(Readable.from(chunks(body.bytes)), response, () => {});
      return;
    case 'drip':
      drip(response.writeHead(status, headers), body.bytesPerSecond);
  }
}

/** Locations and dates that depend on the request. */
function resolved(headers: Behaviour['headers'], request: IncomingMessage): Behaviour['headers'] {
  const { location, 'retry-after': retryAfter } = headers;
  const [, sign, distance = ''] = /^date:(-?)(.+)$/.exec(retryAfter ?? '') ?? [];
  const ms = parseDuration(distance);
  return {
    ...headers,
    ...(location === 'loop' && { location: request.url ?? '/' }),
    ...(ms !== null && { 'retry-after': new Date(Date.now() + (sign === '-' ? -ms : ms)).toUTCString() }),
  };
}

let bomb: Promise<Buffer> | null = null;

/** Made once, beside the event loop: others are being answered meanwhile. */
function gzipBomb(): Promise<Buffer> {
  bomb ??= promisify(gzip)(Buffer.alloc(50_000_000));
  return bomb;
}

function* chunks(bytes: number): Generator<Buffer> {
  const chunk = Buffer.alloc(64 * 1024, 'a');
  for (let left = bytes; left > 0; left -= chunk.length) yield left < chunk.length ? chunk.subarray(0, left) : chunk;
}

function drip(response: ServerResponse, bytesPerSecond: number): void {
  const everyMs = Math.max(20, 1000 / bytesPerSecond);
  const piece = '.'.repeat(Math.max(1, Math.round((bytesPerSecond * everyMs) / 1000)));
  response.write('.');
  // A sender that does not read must not fill our memory.
  const timer = setInterval(() => {
    if (!response.writableNeedDrain) response.write(piece);
  }, everyMs);
  response.once('close', () => clearInterval(timer));
}
