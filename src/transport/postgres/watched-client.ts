import pg from 'pg';
import { type Asking, Wires } from './wires.ts';

export interface WatchedConfig extends pg.ClientConfig {
  readonly wires?: Wires;
}

/** To be kept as a `pg.Client`, whose overloads it has. A connection of which somebody else can see that an answer stays away. */
export class WatchedClient extends pg.Client implements Asking {
  /** node-postgres has it, and its types don't. */
  declare readonly processID: number | null;
  #askedAt: number | null = null;

  constructor({ wires = new Wires(), ...config }: WatchedConfig = {}) {
    const socket = wires.open();
    super({ ...config, stream: () => socket });
    wires.watch(socket, this);
    // Everything that was asked is answered.
    this.on('drain', () => {
      this.#askedAt = null;
    });
  }

  get askedAt(): number | null {
    return this.#askedAt;
  }

  get session(): number | null {
    return this.processID;
  }

  // biome-ignore lint/suspicious/noExplicitAny: node-postgres declares a dozen overloads
  override query(...question: any[]): any {
    this.#askedAt ??= performance.now();
    return Reflect.apply(super.query, this, question);
  }

  /** Waits for the server to hang up. */
  // biome-ignore lint/suspicious/noExplicitAny: with and without callback
  override end(...callback: any[]): any {
    this.#askedAt ??= performance.now();
    return Reflect.apply(super.end, this, callback);
  }
}
