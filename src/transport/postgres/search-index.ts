/**
 * The index that a search may use: on each day of the log and of the history, built beside writers. Days that are made later have it from the
 * beginning, because PostgreSQL gives a partition that is attached the indexes of its parent.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { attemptWords, eventWords } from './event-search.ts';
import { sqlState } from './failures.ts';
import { qualified, quoteIdentifier } from './identifiers.ts';

const indexes = [
  { table: 'events', index: 'events_words_idx', words: eventWords('') },
  { table: 'attempts', index: 'attempts_words_idx', words: attemptWords('') },
] as const;

/** Resumable: what is there already stays. @param onStep told the name of each table before its index is built */
export async function createSearchIndex(pool: pg.Pool, onStep: (table: string) => void): Promise<void> {
  for (const { table, index, words } of indexes) {
    await briefly(pool, `create index if not exists ${index} on only observers.${table} using gin (${words})`);
    const { rows } = await pool.query<{ partition: string }>(partitionsWithout, [
      `observers.${table}`,
      `observers.${index}`,
    ]);
    for (const { partition } of rows) {
      onStep(partition);
      const child = `${partition}_words_idx`;
      // One that an earlier attempt left unfinished would be taken for a whole one.
      await pool.query(`drop index concurrently if exists ${qualified('observers', child)}`);
      await pool.query(
        `create index concurrently ${quoteIdentifier(child)} on ${qualified('observers', partition)} using gin (${words})`,
      );
      await briefly(pool, `alter index observers.${index} attach partition ${qualified('observers', child)}`);
    }
  }
}

export async function dropSearchIndex(pool: pg.Pool): Promise<void> {
  for (const { index } of indexes) await briefly(pool, `drop index if exists observers.${index}`);
}

const partitionsWithout = `
select c.relname as partition from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = $1::regclass and not exists (
  select from pg_inherits x join pg_index d on d.indexrelid = x.inhrelid where x.inhparent = $2::regclass and d.indrelid = c.oid)
order by 1`;

const tries = 60;

/** Whoever waits for a lock holds up all that come after: so it waits for a moment only, and lets them pass before it asks again. */
async function briefly(pool: pg.Pool, statement: string): Promise<void> {
  for (let n = 1; ; n++) {
    const client = await pool.connect();
    try {
      await client.query("set lock_timeout = '100ms'");
      await client.query(statement);
      return;
    } catch (error) {
      if (sqlState(error) !== '55P03' || n === tries) throw error;
    } finally {
      await client.query('reset lock_timeout').catch(() => {});
      client.release();
    }
    await sleep(500);
  }
}
