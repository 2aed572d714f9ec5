import { lookup } from 'node:dns/promises';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, type PeerCertificate, type TLSSocket } from 'node:tls';
import { tlsIdentity } from '../../actions/http/tls.ts';
import { networkFault } from '../../actions/network-fault.ts';
import type { TlsOptions } from '../../domain/webhook.ts';
import type { Endpoint } from './endpoint.ts';

/** How far a connection came, and why it came no further. */
export interface Reach {
  readonly addresses: readonly string[];
  /** Milliseconds, DNS and TLS included; null: it was not made. */
  readonly tookMs: number | null;
  /** When the server's certificate ends, Unix milliseconds; null: no TLS. */
  readonly certificateEnds: number | null;
  /** null: connected. */
  readonly failure: { readonly at: 'dns' | 'connect' | 'tls'; readonly reason: string } | null;
}

/** Connects, shakes hands and hangs up. Never rejects. Milliseconds. */
export async function reach(endpoint: Endpoint, tls: TlsOptions | null, timeoutMs: number): Promise<Reach> {
  const startedAt = performance.now();
  let at: 'dns' | 'connect' | 'tls' = 'dns';
  let addresses: readonly string[] = [];
  let socket: Socket | null = null;
  try {
    addresses = await resolve(endpoint.host);
    at = 'connect';
    socket = await opened(connect({ host: endpoint.host, port: endpoint.port }), 'connect', timeoutMs);
    let certificateEnds: number | null = null;
    if (endpoint.tls) {
      at = 'tls';
      const secure = await opened(secured(socket, endpoint, tls), 'secureConnect', timeoutMs);
      certificateEnds = endOf(secure.getPeerCertificate());
      socket = secure;
    }
    return { addresses, tookMs: performance.now() - startedAt, certificateEnds, failure: null };
  } catch (error) {
    return { addresses, tookMs: null, certificateEnds: null, failure: { at, reason: networkFault(error).reason } };
  } finally {
    socket?.destroy();
  }
}

async function resolve(host: string): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function secured(socket: Socket, { host }: Endpoint, tls: TlsOptions | null): TLSSocket {
  const identity = tlsIdentity(tls);
  const serverName = identity?.serverName ?? host;
  return connectTls({
    socket,
    host: serverName,
    ...(isIP(serverName) === 0 && { servername: serverName }),
    ...(identity !== null && { secureContext: identity.context }),
  });
}

function opened<S extends Socket>(socket: S, event: 'connect' | 'secureConnect', timeoutMs: number): Promise<S> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(timeoutMs, () => fail(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })));
    socket.once('error', fail);
    socket.once('close', () => fail(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
    socket.once(event, () => resolve(socket));
  });
}

function endOf({ valid_to: end }: PeerCertificate): number | null {
  const time = Date.parse(end);
  return Number.isNaN(time) ? null : time;
}
