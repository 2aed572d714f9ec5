import { HttpClient, type HttpClientOptions } from './http-client.ts';

/**
 * Clients for URLs whose host comes from events, one for each origin: those used last are kept, the others closed.
 */
export class Origins {
  readonly #options: HttpClientOptions;
  readonly #kept: number;
  /** In order of use, the one used last at the end. */
  readonly #clients = new Map<string, HttpClient>();
  readonly #closing = new Set<Promise<void>>();
  #closed = false;

  /** @param kept how many origins */
  constructor(options: HttpClientOptions, kept: number) {
    this.#options = options;
    this.#kept = kept;
  }

  get size(): number {
    return this.#clients.size;
  }

  /** To be used at once: one that is not among the last ones used is closed. */
  clientFor(url: URL): HttpClient {
    const client = this.#clients.get(url.origin) ?? new HttpClient(url, this.#options);
    if (this.#closed) this.#close(client);
    else this.#keep(url.origin, client);
    return client;
  }

  #keep(origin: string, client: HttpClient): void {
    this.#clients.delete(origin);
    this.#clients.set(origin, client);
    const [oldest] = this.#clients;
    if (oldest === undefined || this.#clients.size <= this.#kept) return;
    this.#clients.delete(oldest[0]);
    this.#close(oldest[1]);
  }

  /** What it has begun goes on to its end. */
  #close(client: HttpClient): void {
    const closing = client.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  /** Lets what has begun finish; idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const client of this.#clients.values()) this.#close(client);
    this.#clients.clear();
    await Promise.all(this.#closing);
  }
}
