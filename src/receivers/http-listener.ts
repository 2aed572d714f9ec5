import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { SocketSet } from './socket-set.ts';

export interface ListenOptions {
  /** 0 (the default): any free port. */
  readonly port?: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** PEM texts: serves HTTPS. `clientCa`: demands client certificates, signed by it. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly clientCa?: string };
  /** A sender that did not get through the TLS handshake. */
  readonly onTlsFault?: (error: Error) => void;
}

export interface HttpListener {
  /** `http://host:port`, without a slash at the end. */
  readonly origin: string;
  readonly connections: SocketSet;
  /** Stops listening and cuts open connections; idempotent. */
  close(): Promise<void>;
}

/** @throws Error (EADDRINUSE, EACCES) when it can't listen there */
export async function listenHttp(listener: RequestListener, options: ListenOptions): Promise<HttpListener> {
  const server = options.tls === undefined ? createServer(listener) : createTlsServer(toTls(options.tls), listener);
  // Node's 5 s would close idle connections under a sender that keeps them longer, and a POST cut there looks like a reset.
  server.keepAliveTimeout = 65_000;
  const connections = new SocketSet();
  server.on('connection', (socket: Socket) => connections.add(socket));
  server.on('tlsClientError', (error: Error) => options.onTlsFault?.(error));
  const host = options.host ?? '127.0.0.1';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  let closing: Promise<void> | null = null;
  return {
    origin: `${options.tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`,
    connections,
    close: () => {
      closing ??= new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closing;
    },
  };
}

function toTls({ key, cert, clientCa }: NonNullable<ListenOptions['tls']>) {
  const own = { key, cert };
  return clientCa === undefined ? own : { ...own, ca: clientCa, requestCert: true, rejectUnauthorized: true };
}

/** How a receiver misbehaves instead of answering, or after it has begun to. */
export type Misbehaviour =
  /** Never answers. */
  | 'hang-before-headers'
  /** Sends status and headers, then nothing. */
  | 'hang-after-headers'
  /** Sends a byte of the body every 20 ms without end. */
  | 'drip'
  /** Resets the connection without an answer. */
  | 'reset'
  /** Promises a longer body than it sends, then resets. */
  | 'truncate';

export interface HttpReply {
  /** Default 200. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Waits before answering. */
  readonly delayMs?: number;
  readonly misbehave?: Misbehaviour;
}

/** The whole body as text. A request that is cut off never calls back. */
export function readBody(request: IncomingMessage, done: (body: string) => void): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const [only] = chunks;
    done(chunks.length === 1 && only !== undefined ? only.toString('utf8') : Buffer.concat(chunks).toString('utf8'));
  });
}

export function answer(response: ServerResponse, reply: HttpReply): void {
  if (reply.delayMs === undefined || reply.delayMs <= 0) {
    answerNow(response, reply);
    return;
  }
  const timer = setTimeout(() => answerNow(response, reply), reply.delayMs);
  response.once('close', () => clearTimeout(timer));
}

function answerNow(response: ServerResponse, reply: HttpReply): void {
  const status = reply.status ?? 200;
  if (reply.misbehave === undefined) {
    response.writeHead(status, reply.headers).end(reply.body);
    return;
  }
  misbehave(response, status, reply, reply.misbehave);
}

function misbehave(response: ServerResponse, status: number, reply: HttpReply, how: Misbehaviour): void {
  switch (how) {
    case 'hang-before-headers':
      return;
    case 'hang-after-headers':
      response.writeHead(status, reply.headers).flushHeaders();
      return;
    case 'drip': {
      response.writeHead(status, reply.headers);
      const timer = setInterval(() => response.write('.'), 20);
      response.once('close', () => clearInterval(timer));
      return;
    }
    case 'reset':
      response.socket?.resetAndDestroy();
      return;
    case 'truncate': {
      const body = Buffer.from(reply.body ?? '{');
      response.writeHead(status, { ...reply.headers, 'content-length': String(body.length + 100) });
      response.write(body, () => response.socket?.destroy());
    }
  }
}
