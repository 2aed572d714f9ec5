import { createServer, type Server } from 'node:http';
import { UserError } from '../domain/errors.ts';
import type { Engine } from '../engine.ts';
import { endpoints } from './endpoints/index.ts';

export interface HttpServer {
  readonly url: string;
  /** Ends idle connections at once and waits for answers on their way. */
  close(): Promise<void>;
}

/**
 * Serves the endpoints. No body is read and nothing can be changed here, so it needs no authentication; it listens on
 * the loopback address unless told otherwise.
 *
 * @throws UserError when the address can't be listened on
 */
export async function startHttpServer(engine: Engine, address: { host: string; port: number }): Promise<HttpServer> {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    const endpoint = endpoints[path];
    const { status, body } =
      endpoint === undefined
        ? { status: 404, body: { error: `there is nothing at ${path}`, endpoints: Object.keys(endpoints) } }
        : request.method === 'GET' || request.method === 'HEAD'
          ? await endpoint(engine)
          : { status: 405, body: { error: 'only GET is answered here' } };
    response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
    response.end(request.method === 'HEAD' ? undefined : `${JSON.stringify(body, null, 2)}\n`);
  });
  await listen(server, address);
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return {
    url: `http://${host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  };
}

function listen(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'something else listens there' : error.message;
      reject(
        new UserError(
          `${host}:${port}: ${why}. Set settings.listen (or PG_OBSERVERS_LISTEN) to another address, or to off.`,
        ),
      );
    });
    server.listen(port, host, resolve);
  });
}
