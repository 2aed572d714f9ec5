import { createServer, type Server } from 'node:http';
import { UserError } from '../domain/errors.ts';
import type { Engine } from '../engine.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import { endpoints, type Reply } from './endpoints/index.ts';
import { MetricsPage } from './endpoints/metrics.ts';

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
export async function startHttpServer(
  engine: Engine,
  metrics: Metrics,
  address: { host: string; port: number },
): Promise<HttpServer> {
  const page = new MetricsPage(engine, metrics);
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    const endpoint = endpoints[path];
    const { status, body, contentType }: Reply =
      endpoint === undefined
        ? { status: 404, body: { error: `there is nothing at ${path}`, endpoints: Object.keys(endpoints) } }
        : request.method === 'GET' || request.method === 'HEAD'
          ? await endpoint(engine, page)
          : { status: 405, body: { error: 'only GET is answered here' } };
    response.writeHead(status, { 'content-type': contentType ?? 'application/json', 'cache-control': 'no-store' });
    const text = contentType === undefined ? `${JSON.stringify(body, null, 2)}\n` : body;
    response.end(request.method === 'HEAD' ? undefined : text);
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
          1,
          { code: 'PGO-PORT' },
        ),
      );
    });
    server.listen(port, host, resolve);
  });
}
