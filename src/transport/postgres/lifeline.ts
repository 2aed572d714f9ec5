import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { askBriefly } from './brief-session.ts';
import { connectionConfig } from './connection.ts';
import type { Asking, Wires } from './wires.ts';

/** A database that has not answered a trivial question by then counts as away. Milliseconds. */
const answerWithinMs = 2_000;
/** Longer than connecting may take, or each look would cut the connections that the one before it made necessary. */
const watchEveryMs = 6_000;
const askEveryMs = 500;
/** An answer that takes longer is asked after. Where nobody can be asked, behind a pooler, so long must be enough. */
const patienceMs = 4_000;
const longPatienceMs = 30_000;
const askAfterEveryMs = 2_000;

/**
 * Those of these server processes that are at work, or were a moment ago: an answer of theirs is still to come. The others
 * wait for a question, and the one that was asked, or its answer, is lost. They end here, and what they hold is free: a
 * lane's lock in the middle of a transaction, the place of the router.
 */
const atWorkQuery = `
with asked as materialized (
  select pid, state = 'active' or state_change > clock_timestamp() - interval '2 s' as at_work
  from pg_stat_activity
  where pid = any ($1) and usename = current_user and application_name like 'pg-observers %'
)
select pid, at_work, case when not at_work then pg_terminate_backend(pid) end from asked`;

/** Sees to it that nothing waits for ever on a database that does not answer. */
export class Lifeline {
  readonly #wires: Wires;
  #timers: readonly NodeJS.Timeout[] = [];
  #askingAfter = false;

  constructor(wires: Wires) {
    this.#wires = wires;
  }

  /**
   * The heartbeat shows whether anything comes through: if not, whatever waits for an answer must start over. But a single
   * connection can be lost, too, while all others work.
   *
   * @param url where a session of our own is to be had
   * @param silentMs since the last heartbeat that reached the database
   */
  watch(url: string, silentMs: () => number, timeoutMs: () => number): void {
    const heartbeat = setInterval(() => {
      if (silentMs() > Math.max(timeoutMs(), watchEveryMs)) this.#wires.cut();
    }, watchEveryMs);
    this.#timers = [heartbeat, setInterval(() => void this.#askAfter(url), askAfterEveryMs)];
  }

  /** Does `work`, the last of a process, and cuts the connections whenever the database stops answering meanwhile. */
  async during(pool: pg.Pool, work: () => Promise<void>): Promise<void> {
    this.#timers.forEach(clearInterval);
    const done = new AbortController();
    const asking = this.#ask(pool, done.signal);
    await work();
    done.abort();
    await asking;
  }

  /**
   * Ends the pools, which say good-bye to the server and would wait for its answer. Then what is left: a session that went silent was
   * given up by whoever had it, and a single socket that is open keeps the process from ending.
   */
  async hangUp(pools: readonly pg.Pool[]): Promise<void> {
    const cut = setTimeout(() => this.#wires.cut(), answerWithinMs);
    await Promise.all(pools.map((pool) => pool.end()));
    clearTimeout(cut);
    this.#wires.cut();
  }

  /** Never rejects: when nobody can be asked, the heartbeat decides. */
  async #askAfter(url: string): Promise<void> {
    if (this.#askingAfter) return;
    const late = this.#late();
    if (late.size === 0) return;
    this.#askingAfter = true;
    const atWork = await serversAtWork(url, [...late.keys()]).catch(() => null);
    // Whoever is still without the same answer, now that the one to a later question is here.
    const still = this.#late();
    const lost = [...late].filter(
      ([one, askedAt]) => still.get(one) === askedAt && atWork?.has(one.session ?? 0) === false,
    );
    if (lost.length > 0) this.#wires.cut(new Set(lost.map(([one]) => one)));
    this.#askingAfter = false;
  }

  /** Since when they wait for an answer that should be here. */
  #late(): ReadonlyMap<Asking, number> {
    const now = performance.now();
    return new Map(
      this.#wires.asking().flatMap((one) => {
        const { askedAt, session } = one;
        if (askedAt === null || now - askedAt < (session === null ? longPatienceMs : patienceMs)) return [];
        return [[one, askedAt] as const];
      }),
    );
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

async function serversAtWork(url: string, asking: readonly Asking[]): Promise<ReadonlySet<number>> {
  const sessions = asking.map(({ session }) => session ?? 0);
  const { rows } = await askBriefly(connectionConfig(url, 'lifeline'), answerWithinMs, (client) =>
    client.query<{ pid: number; at_work: boolean }>(atWorkQuery, [sessions]),
  );
  return new Set(rows.filter((row) => row.at_work).map((row) => row.pid));
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
