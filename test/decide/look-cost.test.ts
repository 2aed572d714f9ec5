/** What a look at the log costs while a transaction with many events is open, in rows and pages rather than in time. */

import { expect, test } from 'vitest';
import { deltaQuery } from '../../src/transport/postgres/routing-sql.ts';
import type { TestDatabase } from '../support/database.ts';
import { connect, drain, hotRules, openRival, prepare } from './support.ts';

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
