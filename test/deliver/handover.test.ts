import { expect, test } from 'vitest';
import { decide } from '../../src/pipeline/decide/decide.ts';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';
import { openSession } from '../decide/support.ts';
import type { TestDatabase } from '../support/database.ts';
import { count, drained, emit, emitMany, eventually, migrated, numberOf, receiver, rules, run } from './fixture.ts';

/** How many rows of the queue were written a second time. */
async function countUpdates(database: TestDatabase): Promise<() => Promise<number>> {
  await database.query(`
    create table public.updates (delivery bigint);
    create function public.note_update() returns trigger language plpgsql as
      $$ begin insert into public.updates values (new.id); return null; end $$;
    create trigger noted after update on observers.deliveries for each row execute function public.note_update()`);
  return async () => {
    const { rows } = await database.query<{ n: number }>('select count(*)::int as n from public.updates');
    return rows[0]?.n ?? 0;
  };
}

const all = { all: { source: 'orders', actions: [{ webhook: 'hook' }] } };

test('what can begin at once is claimed as it is queued', async () => {
  const database = await migrated('at_once');
  const updates = await countUpdates(database);
  const hook = await receiver();
  const { engine } = await run(
    rules(database.url, { destinations: { hook: { webhook: { url: hook.url } } }, observers: all }),
  );
  await eventually('routing', async () => (await engine.status()).instance.routing);
  for (let n = 1; n <= 5; n++) {
    await emit(database, { n });
    await drained(database, n);
  }
  expect(hook.received.entries.map(numberOf)).toEqual([1, 2, 3, 4, 5]);
  expect(await updates()).toBe(0);
  // The history tells nothing of it.
  expect(await count(database, 'attempts', 'attempt = 1 and instance is not null')).toBe(5);
});

test('what is new does not pass by what waits', async () => {
  const database = await migrated('in_turn');
  const hook = await receiver();
  await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url: hook.url }, concurrency: 1 } },
      observers: all,
    }),
  );
  for (let n = 1; n <= 60; n++) await emit(database, { n });
  await drained(database, 60);
  expect(hook.received.entries.map(numberOf)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
});

test('of a lane only the head comes along', async () => {
  const database = await migrated('head_only');
  const config = rules(database.url, {
    destinations: { hook: { webhook: { url: 'http://127.0.0.1:9/' } } },
    observers: { ordered: { source: 'orders', order_by: 'key', actions: [{ webhook: 'hook' }] } },
  });
  const session = await openSession(database.url);
  await emitMany(database, 1, 3, "'a'");
  const decided = decide(await session.read(), new RuleIndex(config));
  const leases = new Map(decided.deliveries.map((delivery, i) => [delivery, String(i + 1)]));
  const instance = '11111111-1111-4111-8111-111111111111';
  const claimed = await session.commit(decided, { instance, leases });
  expect(claimed?.map(({ delivery, event }) => [delivery.lease, delivery.orderingKey, event?.payload])).toEqual([
    ['1', 'a', '{"n": 1}'],
  ]);
  const { rows } = await database.query('select state, lease, claimed_by from observers.deliveries order by id');
  expect(rows).toEqual([
    { state: 'claimed', lease: '1', claimed_by: instance },
    { state: 'blocked', lease: '0', claimed_by: null },
    { state: 'blocked', lease: '0', claimed_by: null },
  ]);
});

test('an event too large for memory does not come along', async () => {
  const database = await migrated('large_comes_later');
  const hook = await receiver();
  await run(rules(database.url, { destinations: { hook: { webhook: { url: hook.url } } }, observers: all }));
  await emit(database, { n: 1, text: 'x'.repeat(400_000) });
  await drained(database, 1);
  expect(hook.received.entries[0]?.body).toContain('x'.repeat(400_000));
});

test('places kept for deliveries that could not be queued are free again', async () => {
  const database = await migrated('refused_once');
  await database.query(`
    create sequence public.tries;
    create function public.refuse_first() returns trigger language plpgsql as
      $$ begin if nextval('public.tries') <= 2 then raise exception 'not yet'; end if; return null; end $$;
    create trigger refused after insert on observers.deliveries for each statement execute function public.refuse_first()`);
  const hook = await receiver();
  const { told } = await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url: hook.url }, concurrency: 1 } },
      observers: all,
    }),
  );
  for (let n = 1; n <= 3; n++) await emit(database, { n });
  await drained(database, 3);
  expect(told.some((event) => event.type === 'stage.failed')).toBe(true);
  expect(hook.received.entries).toHaveLength(3);
});
