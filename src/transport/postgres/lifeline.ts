import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { Wires } from './wires.ts';

/** A database that has not answered a trivial question by then counts as away. Milliseconds. */
const answerWithinMs = 2_000;
/** Longer than connecting may take, or each look would cut the connections that the one before it made necessary. */
const watchEveryMs = 6_000;
const askEveryMs = 500;

/** Sees to it that nothing waits for ever on a database that does not answer. */
export class Lifeline {
  readonly #wires: Wires;
  #watch: NodeJS.Timeout | undefined;

  constructor(wires: Wires) {
    this.#wires = wires;
  }

  /**
   * The heartbeat shows whether anything comes through: if not, whatever waits for an answer must start over.
   * @param silentMs since the last heartbeat that reached the database
   */
  watch(silentMs: () => number, patienceMs: () => number): void {
    this.#watch = setInterval(() => {
      if (silentMs() > Math.max(patienceMs(), watchEveryMs)) this.#wires.cut();
    }, watchEveryMs);
  }

  /** Does `work`, the last of a process, and cuts the connections whenever the database stops answering meanwhile. */
  async during(pool: pg.Pool, work: () => Promise<void>): Promise<void> {
    clearInterval(this.#watch);
    const done = new AbortController();
    const asking = this.#ask(pool, done.signal);
    await work();
    done.abort();
    await asking;
  }

  /** Ends the pools. They say good-bye to the server, and would wait for its answer. */
  async hangUp(pools: readonly pg.Pool[]): Promise<void> {
    const cut = setTimeout(() => this.#wires.cut(), answerWithinMs);
    await Promise.all(pools.map((pool) => pool.end()));
    clearTimeout(cut);
  }

  async #ask(pool: pg.Pool, done: AbortSignal): Promise<void> {
    while (!done.aborted) {
      const answered = await inTime(pool.query('select 1')).then(
        () => true,
        () => false,
      );
      if (!answered) this.#wires.cut();
      await sleep(askEveryMs, undefined, { signal: done }).catch(() => {});
    }
  }
}

/** @throws Error when it takes longer than a database that is there ever does */
export async function inTime<T>(work: Promise<T>): Promise<T> {
  const settled = new AbortController();
  const late = sleep(answerWithinMs, undefined, { signal: settled.signal }).then(() => {
    throw new Error(`no answer within ${answerWithinMs / 1_000} s`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    late.catch(() => {});
    settled.abort();
  }
}
