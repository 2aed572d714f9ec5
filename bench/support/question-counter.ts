/** Between a sidecar and its database, to count what it asks: the server counts whole databases, autovacuum and the benchmark included. */
import { type AddressInfo, connect, createServer } from 'node:net';

export interface QuestionCounter {
  /** The same database through here. */
  readonly url: string;
  /** Statements asked so far, on all connections. */
  readonly count: number;
  close(): void;
}

/** @param url without TLS */
export async function countQuestions(url: string): Promise<QuestionCounter> {
  const there = new URL(url);
  let count = 0;
  const server = createServer((client) => {
    const database = connect(Number(there.port || 5432), there.hostname);
    const messages = new Messages((kind) => {
      if (kind === simpleQuery || kind === execute) count += 1;
    });
    client.on('data', (bytes: Buffer) => messages.read(bytes));
    client.pipe(database).pipe(client);
    for (const [one, other] of [
      [client, database],
      [database, client],
    ] as const) {
      one.setNoDelay(true);
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const here = new URL(url);
  here.hostname = '127.0.0.1';
  here.port = String((server.address() as AddressInfo).port);
  return {
    url: here.href,
    get count() {
      return count;
    },
    close: () => server.close(),
  };
}

const simpleQuery = 'Q'.charCodeAt(0);
const execute = 'E'.charCodeAt(0);

/** What a client says, as messages: a letter, which the first one does not have, and four bytes of length. */
class Messages {
  readonly #told: (kind: number) => void;
  #rest: Buffer = Buffer.alloc(0);
  #letter = 0;

  constructor(told: (kind: number) => void) {
    this.#told = told;
  }

  read(bytes: Buffer): void {
    let rest = Buffer.concat([this.#rest, bytes]);
    while (rest.length >= this.#letter + 4) {
      const end = this.#letter + rest.readUInt32BE(this.#letter);
      if (rest.length < end) break;
      if (this.#letter === 1) this.#told(rest[0] ?? 0);
      this.#letter = 1;
      rest = rest.subarray(end);
    }
    this.#rest = rest;
  }
}
