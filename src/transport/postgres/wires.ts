import { Socket } from 'node:net';

/**
 * The sockets of a process's database connections.
 *
 * A connection whose other end vanished without a word (a pulled cable, a NAT that forgot it, a hanging pooler) stays open
 * for a quarter of an hour, and whoever waits for an answer on it waits as long. No time limit on queries: a routing
 * query over a million events may take its time. So somebody else finds out that nothing comes through, and cuts.
 */
export class Wires {
  readonly #sockets = new Set<Socket>();

  /** For `stream` of node-postgres. */
  readonly open = (): Socket => {
    const socket = new Socket();
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  };

  /** Ends every connection: what waits on one fails at once, and connects anew if it goes on. */
  cut(): void {
    for (const socket of this.#sockets)
      socket.destroy(new Error('connection terminated: the database does not answer'));
  }
}
