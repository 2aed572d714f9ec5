import { Client } from 'undici';

/** One connection to an origin, made when first used and made anew after the server closed it. */
export interface Connection {
  readonly client: Client;
  /** Ends it at once, whether it is idle, in use or still being made. */
  cut(): void;
}

/** @param connectTimeoutMs for making the connection: TCP and TLS */
export function createConnection(origin: string, connectTimeoutMs: number): Connection {
  const connecting = new AbortController();
  const client = new Client(origin, {
    pipelining: 1,
    // Client.destroy() leaves a socket alone that is not connected yet; the signal goes through to node:net.
    connect: { timeout: connectTimeoutMs, signal: connecting.signal },
  });
  return {
    client,
    cut: () => {
      client.destroy().catch(() => {});
      connecting.abort();
    },
  };
}
