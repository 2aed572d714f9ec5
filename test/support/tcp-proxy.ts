import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP proxy that fails on demand, for what networks do. */
export interface TcpProxy {
  readonly port: number;
  /** The URL, led through the proxy. */
  through(url: string): string;
  /** Open connections, without those that were swallowed. */
  readonly connections: number;
  /** Half-open: connections stay, new ones are accepted, and nothing goes through in either direction. */
  pause(): void;
  /**
   * Half-open for good, as behind a NAT that forgot them: what the connections of now send from now on vanishes, in both
   * directions, and neither end is told, also after `resume`. New ones are served. `share`: a random part of them (0 … 1).
   */
  swallow(share?: number): void;
  /** Everything arrives late, but in order. Milliseconds; `jitterMs`: a random share of it comes on top. 0: at once. */
  delay(ms: number, jitterMs?: number): void;
  /** Bytes a second of each connection and direction; null: as fast as they come. */
  throttle(bytesPerSecond: number | null): void;
  /** Resets every connection, or a random share (0 … 1) of them; new ones are served. */
  cut(share?: number): void;
  /** New connections are refused; those there are stay. */
  refuse(): Promise<void>;
  /** Everything works again, save for what was swallowed; what piled up during a pause goes through. */
  resume(): Promise<void>;
  /** Resolves when the next connection arrives (also when it is not served). */
  nextConnection(): Promise<void>;
  stop(): Promise<void>;
}

/** What the network is like now. */
interface Weather {
  paused: boolean;
  delayMs: number;
  jitterMs: number;
  bytesPerSecond: number | null;
}

/** A connection of a client, and ours to the target. */
interface Link {
  readonly ends: readonly [Socket, Socket];
  pumps: readonly (() => void)[];
  swallowed: boolean;
}

/** @param random for jitter and for the choice of what is cut: a seeded one makes them repeatable */
export async function startTcpProxy(
  target: { host: string; port: number },
  random: () => number = Math.random,
): Promise<TcpProxy> {
  const links = new Set<Link>();
  const waiting = new Set<() => void>();
  const weather: Weather = { paused: false, delayMs: 0, jitterMs: 0, bytesPerSecond: null };

  const serve = (client: Socket) => {
    const upstream = connect({ ...target, allowHalfOpen: true });
    const link: Link = { ends: [client, upstream], pumps: [], swallowed: false };
    links.add(link);
    link.pumps = [join(link, client, upstream, weather, random), join(link, upstream, client, weather, random)];
    for (const end of link.ends) end.once('close', () => link.ends.every(({ closed }) => closed) && links.delete(link));
    for (const resolve of waiting) resolve();
    waiting.clear();
  };
  const flow = () => {
    for (const link of links) for (const pump of link.pumps) pump();
  };

  let server: Server | null = createServer({ allowHalfOpen: true }, serve);
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
      return [...links].filter((link) => !link.swallowed).length;
    },
    pause: () => {
      weather.paused = true;
    },
    swallow: (share = 1) => {
      for (const link of links) if (share >= 1 || random() < share) link.swallowed = true;
      flow();
    },
    delay: (ms, jitterMs = 0) => {
      weather.delayMs = ms;
      weather.jitterMs = jitterMs;
    },
    throttle: (bytesPerSecond) => {
      weather.bytesPerSecond = bytesPerSecond;
    },
    cut: (share = 1) => {
      for (const link of links) if (share >= 1 || random() < share) for (const end of link.ends) end.resetAndDestroy();
    },
    refuse,
    resume: async () => {
      Object.assign(weather, { paused: false, delayMs: 0, jitterMs: 0, bytesPerSecond: null } satisfies Weather);
      flow();
      if (server !== null) return;
      server = createServer({ allowHalfOpen: true }, serve);
      await listen(server, port);
    },
    nextConnection: () => new Promise((resolve) => waiting.add(resolve)),
    stop: async () => {
      for (const link of links) for (const end of link.ends) end.destroy();
      await refuse();
    },
  };
}

/**
 * One direction. Not pipe(): it resumes by itself when the other side drains, so a pause would leak. And what was read is
 * queued: an end arrives on a paused socket too, and would overtake what is still on its way.
 *
 * @returns looks whether anything may flow again
 */
function join(link: Link, from: Socket, to: Socket, weather: Weather, random: () => number): () => void {
  const queue: (Buffer | 'end')[] = [];
  let travelling = false;
  const pump = (): void => {
    if (link.swallowed) queue.length = 0;
    if (travelling || to.writableNeedDrain || (weather.paused && !link.swallowed)) return;
    const next = queue.shift();
    if (next === undefined) from.resume();
    else if (next === 'end') to.end();
    else {
      const waitMs = travelMs(next.length, weather, random);
      if (waitMs === 0) return arrive(next);
      travelling = true;
      setTimeout(arrive, waitMs, next);
    }
  };
  const arrive = (chunk: Buffer): void => {
    travelling = false;
    if (!link.swallowed && to.writable) to.write(chunk);
    pump();
  };
  const enqueue = (what: Buffer | 'end') => {
    // A black hole tells the other side nothing, neither an end nor (below) a reset.
    if (link.swallowed) return;
    from.pause();
    queue.push(what);
    pump();
  };
  from.on('data', enqueue);
  from.on('end', () => enqueue('end'));
  to.on('drain', pump);
  from.on('error', () => !link.swallowed && to.destroy());
  from.on('close', () => !link.swallowed && !from.readableEnded && to.destroy());
  pump();
  return pump;
}

function travelMs(bytes: number, { delayMs, jitterMs, bytesPerSecond }: Weather, random: () => number): number {
  const sendingMs = bytesPerSecond === null ? 0 : (bytes / bytesPerSecond) * 1_000;
  return delayMs + (jitterMs === 0 ? 0 : jitterMs * random()) + sendingMs;
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
