import type { SecureContext } from 'node:tls';
import type * as undici from 'undici';
import type { AddressGuard } from './address-guard.ts';
import { buildConnector, Client } from './undici.ts';

/** One connection to an origin, made when first used and made anew after the server closed it. */
export interface Connection {
  readonly client: undici.Client;
  /**
   * What the socket itself complained of, if it did. A server that demands a client certificate says so after the
   * handshake; of what follows, undici reports the end of the connection only.
   */
  readonly fault: Error | null;
  /** Ends it at once, whether it is idle, in use or still being made. */
  cut(): void;
}

export interface ConnectOptions {
  /** For making the connection, milliseconds: TCP and TLS. An attempt's deadline ends it earlier. */
  readonly connectTimeoutMs: number;
  /** null: the system's authorities, and no client certificate. */
  readonly tls?: TlsIdentity | null;
  /** null: whatever the address. */
  readonly guard?: AddressGuard | null;
}

/** Read once for all connections of a destination: to parse certificates takes longer than a request. */
export interface TlsIdentity {
  readonly context: SecureContext;
  readonly serverName: string | null;
}

export function createConnection(origin: string, options: ConnectOptions): Connection {
  const connecting = new AbortController();
  const { tls = null, guard = null } = options;
  const connect: undici.buildConnector.BuildOptions = {
    timeout: options.connectTimeoutMs,
    // Client.destroy() leaves a socket alone that is not connected yet; the signal goes through to node:net.
    signal: connecting.signal,
    ...(tls !== null && { secureContext: tls.context }),
    ...(tls !== null && tls.serverName !== null && { servername: tls.serverName }),
  };
  const connector = guard === null ? buildConnector(connect) : guarded(guard, connect);
  let fault: Error | null = null;
  const client = new Client(origin, {
    pipelining: 1,
    connect: (target, callback) => {
      fault = null;
      connector(target, (...[error, socket]) => {
        if (error !== null) return callback(error, null);
        socket.once('error', (told) => {
          fault = told;
        });
        callback(null, socket);
      });
    },
  });
  return {
    client,
    get fault() {
      return fault;
    },
    cut: () => {
      client.destroy().catch(() => {});
      connecting.abort();
    },
  };
}

function guarded(guard: AddressGuard, options: undici.buildConnector.BuildOptions): undici.buildConnector.connector {
  const connector = buildConnector({ ...options, lookup: guard.lookup });
  return (target, callback) => {
    // node:net asks no lookup for a literal address.
    const refused = guard.refuse(target.hostname);
    if (refused === null) connector(target, callback);
    else callback(refused, null);
  };
}
