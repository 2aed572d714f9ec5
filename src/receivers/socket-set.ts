import type { Socket } from 'node:net';

/** The connections a receiver has open, so that a test can await that a sender has let go of them. */
export class SocketSet {
  readonly #sockets = new Set<Socket>();
  #waiting: (() => void)[] = [];

  #total = 0;

  /** How many there have been in all. */
  get total(): number {
    return this.#total;
  }

  /** Open right now. */
  get size(): number {
    return this.#sockets.size;
  }

  add(socket: Socket): void {
    this.#total += 1;
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      if (this.#sockets.size > 0) return;
      for (const resolve of this.#waiting.splice(0)) resolve();
    });
  }

  destroyFrom(remotePort: number): void {
    for (const socket of this.#sockets) if (socket.remotePort === remotePort) socket.destroy();
  }

  destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  whenEmpty(): Promise<void> {
    if (this.#sockets.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
