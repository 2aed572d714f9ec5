/** What a look at the log costs while a transaction with many events is open, in rows and pages rather than in time. */

import { expect, test } from 'vitest';
import { deltaQuery } from '../../src/transport/postgres/routing-sql.ts';
import type { TestDatabase } from '../support/database.ts';
import { connect, drain, hotRules, openRival, openSession, prepare, until } from './support.ts';

test('200,000 uncommitted events cost a look nothing', async () => {
  const { database, rules } = await prepare(
    'reader_open',
    'create table public.hot (id integer primary key, v integer not null default 0)',
    hotRules(false),
  );
  const asked: unknown[][] = [];
  const session = await openRival(database.url, {}, asked);
  const writer = await connect(database.url);
  await writer.query('begin');
  await writer.query('insert into public.hot select n from generate_series(1, 200000) n');
  // Twice: the first look finds out that there is nothing up to now.
  await session.read();
  await session.read();
  const open = await costOf(database, asked.at(-1) ?? []);
  await writer.query('rollback');
  await session.read();
  await session.read();
  const aborted = await costOf(database, asked.at(-1) ?? []);
  // Rows of the log that were looked at, and pages: a descent of each index, not the rows.
  expect(open.rows + aborted.rows).toBe(0);
  expect(open.pages).toBeLessThan(100);
  expect(aborted.pages).toBeLessThan(100);
  await database.query('insert into public.hot values (0)');
  expect((await drain(session, rules)).map(({ key }) => key)).toEqual(['0']);
  await session.close();
});

test('a look that was planned while the log was empty does not read the log when it is full', async () => {
  const { database, rules } = await prepare(
    'reader_full',
    'create table public.hot (id integer primary key, v integer not null default 0)',
    hotRules(false),
  );
  // An analyze would have it planned anew.
  await database.query(`do $$ declare part regclass; begin
    for part in select inhrelid from pg_inherits where inhparent = 'observers.events'::regclass loop
      execute format('alter table %s set (autovacuum_enabled = off)', part);
    end loop; end $$`);
  const session = await openSession(database.url);
  // After five executions the plan is kept.
  for (let id = 1; id <= 10; id++) {
    await database.query(`insert into public.hot values (${id})`);
    await drain(session, rules);
  }
  await database.query('select pg_stat_reset()');
  await database.query('insert into public.hot select n from generate_series(11, 20000) n');
  expect(await drain(session, rules)).toHaveLength(19_990);
  await session.read();
  // What it has read is in the statistics when its backend has ended.
  await session.close();
  await until('the backend is gone', async () => {
    const { rows } = await database.query<{ left: string }>(
      `select count(*) as left from pg_stat_activity where datname = current_database() and application_name like '%router%'`,
    );
    return rows[0]?.left === '0';
  });
  const { rows } = await database.query<{ name: string; rows: string }>(
    `select relname as name, seq_tup_read as rows from pg_stat_user_tables where relname like 'events%' and seq_tup_read > 0`,
  );
  expect(rows).toEqual([]);
});

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
  readonly Plans?: readonly PlanNode[];
}

async function costOf(database: TestDatabase, values: readonly unknown[]): Promise<{ rows: number; pages: number }> {
  const client = await connect(database.url);
  await client.query('set enable_seqscan = off; set search_path = pg_catalog');
  const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
    `explain (analyze, buffers, format json) ${deltaQuery}`,
    [...values],
  );
  const plan = rows[0]?.['QUERY PLAN'][0].Plan;
  if (plan === undefined) throw new Error('no plan');
  const scanned = (node: PlanNode): number =>
    (node['Relation Name']?.startsWith('events')
      ? (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops']
      : 0) + (node.Plans ?? []).reduce((sum, child) => sum + scanned(child), 0);
  return { rows: scanned(plan), pages: plan['Shared Hit Blocks'] + plan['Shared Read Blocks'] };
}
