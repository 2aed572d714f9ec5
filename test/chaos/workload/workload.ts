import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Random } from '../random.ts';
import { insertOrders, type Writer } from './changes.ts';
import { transact } from './transactions.ts';

export interface WorkloadOptions {
  /** Default 6. */
  readonly writers?: number;
  /** Between two transactions of a writer, at most. Milliseconds, default 50. */
  readonly pauseMs?: number;
  /** Of the texts in payloads, at most. Default 200. */
  readonly textBytes?: number;
}

/** Of each writer: with few, they would wait for each other's rows. */
const ordersToBeginWith = 40;

/** Several writers, each on a connection of its own, which they make anew when it breaks. */
export class Workload {
  readonly #url: string;
  readonly #random: Random;
  readonly #options: WorkloadOptions;
  readonly #failures = new Map<string, number>();
  #running: Promise<unknown> | null = null;
  #stopping = false;
  #transactions = 0;

  constructor(url: string, random: Random, options: WorkloadOptions = {}) {
    this.#url = url;
    this.#random = random;
    this.#options = options;
  }

  /** Ended in any way. */
  get transactions(): number {
    return this.#transactions;
  }

  /** Transactions that failed, by SQLSTATE or error code. Deadlocks are part of the load and not among them. */
  get failures(): ReadonlyMap<string, number> {
    return this.#failures;
  }

  start(): void {
    const { writers = 6 } = this.#options;
    this.#running ??= Promise.all(
      Array.from({ length: writers }, (_, n) => this.#write(this.#random.fork(`writer ${n}`))),
    );
  }

  /** Resolves when the last transaction has ended. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  async #write(random: Random): Promise<void> {
    while (!this.#stopping) {
      const client = new pg.Client({
        connectionString: this.#url,
        options: '-c TimeZone=UTC -c deadlock_timeout=100ms',
      });
      // Without a listener the end of a connection would end the process; the next query says it, too.
      client.on('error', () => undefined);
      try {
        await client.connect();
        if (this.#transactions === 0) await insertOrders({ client, random, textBytes: 20 }, ordersToBeginWith);
        await this.#writeOn({ client, random, textBytes: this.#options.textBytes ?? 200 });
      } catch (error) {
        this.#failed(error);
        await sleep(200);
      } finally {
        await client.end().catch(() => undefined);
      }
    }
  }

  async #writeOn(writer: Writer): Promise<void> {
    const { pauseMs = 50 } = this.#options;
    while (!this.#stopping) {
      try {
        await transact(writer, () => this.#stopping);
      } catch (error) {
        await writer.client.query('rollback');
        if ((error as { code?: string }).code !== '40P01') this.#failed(error);
      }
      this.#transactions += 1;
      await sleep(writer.random.below(pauseMs));
    }
  }

  /** @throws the error itself when neither the database nor the network said it: then it is a bug of the workload */
  #failed(error: unknown): void {
    const { code, message } = error as { code?: string; message: string };
    const known = code ?? (/^Connection terminated|not queryable/.test(message) ? 'connection lost' : null);
    if (known === null) throw error;
    this.#failures.set(known, (this.#failures.get(known) ?? 0) + 1);
  }
}
