import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';
import type { Random } from '../random.ts';
import type { Site } from '../scenario.ts';

/** Between each instance and the database, so that one can be cut off while the others are not. */
export async function proxiesToDatabase({ cluster, random }: Site, instances: number): Promise<readonly TcpProxy[]> {
  return Promise.all(
    Array.from({ length: instances }, (_, n) => proxyTo(cluster.url, random.fork(`database ${n + 1}`))),
  );
}

/** Between all instances and each receiver, by destination. */
export async function proxiesToReceivers({ receivers, random }: Site): Promise<ReadonlyMap<string, TcpProxy>> {
  const entries = receivers.destinations.map(
    async (name) => [name, await proxyTo(receivers.url(name), random.fork(`receiver ${name}`))] as const,
  );
  return new Map(await Promise.all(entries));
}

function proxyTo(url: string, random: Random): Promise<TcpProxy> {
  const { hostname, port } = new URL(url);
  return startTcpProxy({ host: hostname, port: Number(port) }, () => random.next());
}

/** For `database:` of a rules file that all instances read: each has it in its environment. */
export const databaseVariable = 'CHAOS_DATABASE';
