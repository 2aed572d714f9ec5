import { connect, createServer } from 'node:net';
import { SocketSet } from '../../src/receivers/socket-set.ts';

/** A server's port that counts who comes in. */
export async function startGate(target: { readonly host: string; readonly port: number }) {
  const connections = new SocketSet();
  const server = createServer((socket) => {
    connections.add(socket);
    const upstream = connect(target);
    socket.pipe(upstream).pipe(socket);
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const close = async () => {
    server.close();
    connections.destroyAll();
  };
  return { port, connections, close };
}
