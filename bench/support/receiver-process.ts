/**
 * The receiver of all contenders, a process of its own: answers 204, and remembers which row arrived when.
 *
 * POST /delay/100/… is answered after 100 ms. Every row's `key` counts once; every fiftieth signature is verified.
 */
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ReceiverCommand, ReceiverReport } from './receiver.ts';

const secret = Buffer.from(process.env.WEBHOOK_SECRET?.replace('whsec_', '') ?? '', 'base64');
const now = () => Number(process.hrtime.bigint()) / 1e6;
const verifyEvery = 50;

let arrivedAt = new Map<string, number>();
let stats = emptyStats();
let waiting: { readonly answered: number } | null = null;

function emptyStats() {
  return { requests: 0, answered: 0, badSignatures: 0, inFlight: 0, mostInFlight: 0, firstAt: 0, lastAnsweredAt: 0 };
}

const server = createServer((request, response) => {
  const at = now();
  if (stats.requests++ === 0) {
    stats.firstAt = at;
    send({ type: 'first' });
  }
  stats.inFlight += 1;
  stats.mostInFlight = Math.max(stats.mostInFlight, stats.inFlight);
  let body = '';
  request.setEncoding('utf8');
  request.on('data', (chunk: string) => {
    body += chunk;
  });
  request.on('end', () => {
    const row = `${/"key" ?: ?"([^"]+)"/.exec(body)?.[1]} ${request.url}`;
    if (!arrivedAt.has(row)) arrivedAt.set(row, at);
    if (stats.requests % verifyEvery === 0 && request.headers['webhook-id'] !== undefined)
      verify(request.headers, body);
    const delayMs = Number(/^\/delay\/(\d+)/.exec(request.url ?? '')?.[1] ?? 0);
    const answer = () => {
      response.writeHead(204).end();
      stats.inFlight -= 1;
      stats.answered += 1;
      if (waiting !== null && stats.answered >= waiting.answered) report();
    };
    if (delayMs === 0) answer();
    else setTimeout(answer, delayMs);
  });
});

function verify(headers: NodeJS.Dict<string | string[]>, body: string): void {
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const expected = `v1,${createHmac('sha256', secret).update(signed).digest('base64')}`;
  if (headers['webhook-signature'] !== expected) stats.badSignatures += 1;
}

function report(): void {
  waiting = null;
  send({ type: 'arrivals', ...stats, lastAnsweredAt: now(), arrivedAt: [...arrivedAt] });
}

function send(report: ReceiverReport): void {
  process.send?.(report);
}

process.on('message', (command: ReceiverCommand) => {
  if (command.type === 'reset') {
    arrivedAt = new Map();
    stats = emptyStats();
    waiting = { answered: command.answers };
  } else report();
});

server.keepAliveTimeout = 65_000;
server.requestTimeout = 0;
server.listen({ port: 0, host: '127.0.0.1', backlog: 20_000 }, () => {
  console.log(`listening on ${(server.address() as AddressInfo).port}`);
});
process.once('disconnect', () => process.exit(0));
