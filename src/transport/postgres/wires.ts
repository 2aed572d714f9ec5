import { Socket } from 'node:net';

/** A connection that says whether it waits for an answer. */
export interface Asking {
  /** When the question was asked that is not answered yet; null: none is open. Milliseconds of `performance.now()`. */
  readonly askedAt: number | null;
  /** The server's process; null before it told, and behind a pooler, where it is now one and now another. */
  readonly session: number | null;
}

/**
 * The sockets of a process's database connections.
 *
 * A connection whose other end vanished without a word (a pulled cable, a NAT that forgot it, a hanging pooler) stays open
 * for a quarter of an hour, and whoever waits for an answer on it waits as long. No time limit on queries: a routing
 * query over a million events may take its time. So somebody else finds out that nothing comes through, and cuts.
 */
export class Wires {
  readonly #sockets = new Map<Socket, Asking | null>();

  /** For `stream` of node-postgres. */
  readonly open = (): Socket => {
    const socket = new Socket();
    this.#sockets.set(socket, null);
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  };

  /** From now on `asking` knows it. @param socket from `open` */
  watch(socket: Socket, connection: Asking): void {
    if (this.#sockets.has(socket)) this.#sockets.set(socket, connection);
  }

  /** Those that say whether they wait. */
  asking(): readonly Asking[] {
    return [...this.#sockets.values()].filter((one) => one !== null);
  }

  /** Ends every connection, or only these: what waits on one fails at once, and connects anew if it goes on. */
  cut(only?: ReadonlySet<Asking>): void {
    for (const [socket, connection] of this.#sockets) {
      if (only !== undefined && (connection === null || !only.has(connection))) continue;
      socket.destroy(new Error('connection terminated: the database does not answer'));
    }
  }
}
