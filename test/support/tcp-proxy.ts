import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP proxy that fails on demand, for what networks do. */
export interface TcpProxy {
  readonly port: number;
  /** The URL, led through the proxy. */
  through(url: string): string;
  /** Open connections. */
  readonly connections: number;
  /** Half-open: connections stay, new ones are accepted, and nothing goes through in either direction. */
  pause(): void;
  /** Resets every connection; new ones are served. */
  cut(): void;
  /** New connections are refused; those there are stay. */
  refuse(): Promise<void>;
  /** Everything works again; what piled up during a pause goes through. */
  resume(): Promise<void>;
  /** Resolves when the next connection arrives (also when it is not served). */
  nextConnection(): Promise<void>;
  stop(): Promise<void>;
}

export async function startTcpProxy(target: { host: string; port: number }): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const waiting = new Set<() => void>();
  let paused = false;

  const serve = (client: Socket) => {
    const upstream = connect(target.port, target.host);
    join(client, upstream);
    join(upstream, client);
    sockets.add(client);
    client.once('close', () => sockets.delete(client));
    for (const resolve of waiting) resolve();
    waiting.clear();
  };
  // Not pipe(): it resumes by itself when the other side drains, so a pause would leak.
  const join = (from: Socket, to: Socket) => {
    if (paused) from.pause();
    from.on('data', (chunk) => {
      if (to.writable && !to.write(chunk)) from.pause();
    });
    to.on('drain', () => !paused && from.resume());
    from.on('end', () => to.end());
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
    pairs.set(from, to);
  };
  const pairs = new WeakMap<Socket, Socket>();
  const each = (act: (socket: Socket) => void) => {
    for (const client of sockets) {
      act(client);
      const upstream = pairs.get(client);
      if (upstream !== undefined) act(upstream);
    }
  };

  let server: Server | null = createServer(serve);
  const port = await listen(server, 0);
  const refuse = async () => {
    // close() stops listening at once; its callback would wait for the open connections.
    server?.close();
    server = null;
  };
  return {
    port,
    through: (url) => {
      const led = new URL(url);
      led.hostname = '127.0.0.1';
      led.port = String(port);
      return led.href;
    },
    get connections() {
      return sockets.size;
    },
    pause: () => {
      paused = true;
      each((socket) => socket.pause());
    },
    cut: () => each((socket) => socket.resetAndDestroy()),
    refuse,
    resume: async () => {
      paused = false;
      each((socket) => socket.resume());
      if (server !== null) return;
      server = createServer(serve);
      await listen(server, port);
    },
    nextConnection: () => new Promise((resolve) => waiting.add(resolve)),
    stop: async () => {
      each((socket) => socket.destroy());
      await refuse();
    },
  };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') reject(new Error('no TCP address'));
      else resolve(address.port);
    });
  });
}
