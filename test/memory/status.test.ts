import { expect, onTestFinished, test } from 'vitest';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { readDatabaseStatus } from '../../src/transport/postgres/status.ts';
import { migrated } from '../deliver/fixture.ts';
import type { TestDatabase } from '../support/database.ts';

/** Deliveries without events, which nobody claims here. Analyzed, as autovacuum does every 20,000 changes. */
async function queue(database: TestDatabase, destination: string, count: number, attempts: number): Promise<void> {
  await database.query(
    `insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, state, attempts, rule_version)
     select n, now(), gen_random_uuid(), 'o', 'a', $1, 'ready', $3, 'v' from generate_series(1, $2::int) n`,
    [destination, count, attempts],
  );
  await database.query('analyze observers.deliveries');
}

test('status counts a short queue, and estimates a long one without reading it', async () => {
  const database = await migrated('status_long');
  const pool = createPool(database.url, 5);
  onTestFinished(() => pool.end());
  const status = async () => {
    const { queue } = await readDatabaseStatus(pool);
    const { rows } = await database.query<{ pending: string; retrying: string }>(
      'select deliveries_pending as pending, deliveries_retrying as retrying from observers.status',
    );
    return { queue, view: rows[0] };
  };
  await queue(database, 'away', 1_000, 0);
  await queue(database, 'away', 500, 2);
  expect(await status()).toMatchObject({
    queue: [{ destination: 'away', ready: 1_000, retrying: 500, estimated: false }],
    view: { pending: '1500', retrying: '500' },
  });

  // In the last of some thousand pages: a sample may miss it.
  await queue(database, 'away', 130_000, 0);
  await queue(database, 'healthy', 3, 1);
  const { queue: long, view } = await status();
  const [away, healthy] = ['away', 'healthy'].map((name) => long.find(({ destination }) => destination === name));
  expect(away?.estimated).toBe(true);
  expect(away?.ready).toBeGreaterThan(100_000);
  expect(away?.ready).toBeLessThan(160_000);
  expect(Number(view?.pending)).toBeGreaterThan(100_000);
  expect(Number(view?.pending)).toBeLessThan(160_000);
  expect(healthy?.ready === 0 && healthy.retrying > 0).toBe(true);

  const { rows: plan } = await database.query<{ 'QUERY PLAN': string }>('explain select * from observers.status');
  const lines = plan.map((row) => row['QUERY PLAN']).join('\n');
  expect(lines).toContain('Sample Scan on deliveries');
  expect(lines).not.toMatch(/Seq Scan on deliveries\b/);
}, 90_000);
