import { expect, test } from 'vitest';
import { count, drained, emit, emitMany, eventually, migrated, receiver, rules, run } from '../deliver/fixture.ts';
import type { TestDatabase } from '../support/database.ts';

const replayAll = (database: TestDatabase) =>
  database.query<{ queued: boolean }>('select observers.replay(id) as queued from observers.dead_letters order by id');

const letters = async (database: TestDatabase) =>
  (await database.query('select reason, replays, attempts, http_status from observers.dead_letters order by id')).rows;

/** One observer that the receiver refuses until it is repaired, and its dead letter. */
async function deadLetter(label: string) {
  const database = await migrated(label);
  let status = 400;
  let gate: Promise<unknown> = Promise.resolve();
  const hook = await receiver({ respond: () => gate.then(() => ({ status })) });
  const running = await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url: hook.url }, retry: { attempts: 2, initial: '1ms' } } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    }),
  );
  await emit(database, { n: 1 }, 'k');
  await eventually('a dead letter', async () => (await count(database, 'dead_letters')) === 1);
  return {
    database,
    ...running,
    hook,
    answerWith: (next: number, when: Promise<unknown> = Promise.resolve()) => {
      status = next;
      gate = when;
    },
  };
}

test('two replays of one dead letter dispatch once; a failing one keeps it, counted; a success takes it away', async () => {
  const { database, hook, answerWith } = await deadLetter('replay');
  let bothQueued = () => {};
  answerWith(
    503,
    new Promise<void>((resolve) => {
      bothQueued = resolve;
    }),
  );
  const [one, other] = await Promise.all([replayAll(database), replayAll(database)]);
  bothQueued();
  expect([one.rows[0]?.queued, other.rows[0]?.queued].sort()).toEqual([false, true]);
  await eventually('its end', async () => (await count(database, 'deliveries')) === 0);
  expect(await letters(database)).toEqual([{ reason: 'exhausted', replays: 1, attempts: 3, http_status: 503 }]);
  expect(hook.received.total).toBe(3);
  answerWith(204);
  await replayAll(database);
  await eventually('an empty table', async () => (await count(database, 'dead_letters')) === 0);
  expect(hook.received.total).toBe(4);
  expect(new Set(hook.received.entries.map(({ messageId }) => messageId)).size).toBe(1);
  expect(new Set(hook.received.entries.map(({ body }) => body)).size).toBe(1);
});

test('a dead letter needs its event no more', async () => {
  const { database, hook, answerWith } = await deadLetter('self_contained');
  answerWith(204);
  const { rows } = await database.query<{ name: string }>(
    `select tableoid::regclass::text as name from observers.events`,
  );
  await database.query(`drop table ${rows[0]?.name}`);
  expect(await count(database, 'events')).toBe(0);
  await replayAll(database);
  await eventually('an empty table', async () => (await count(database, 'dead_letters')) === 0);
  const [first, last] = hook.received.entries;
  expect(last?.body).toBe(first?.body);
});

test('the replay for an observer that left the file stays a dead letter and says so; what was sent is kept', async () => {
  const { database, engine, hook } = await deadLetter('replay_removed');
  const before = await database.query('select request from observers.dead_letters');
  expect(before.rows[0]?.request).not.toBeNull();
  await engine.reload(
    rules(database.url, {
      destinations: { hook: { webhook: { url: hook.url } } },
      observers: { another: { source: 'orders', when: 'false', actions: [{ webhook: 'hook' }] } },
    }),
  );
  await replayAll(database);
  await eventually('its end', async () => (await count(database, 'deliveries')) === 0);
  expect(await letters(database)).toEqual([{ reason: 'rule_removed', replays: 1, attempts: 1, http_status: null }]);
  expect((await database.query('select request from observers.dead_letters')).rows).toEqual(before.rows);
  expect(hook.received.total).toBe(1);
});

test('an instance with older rules hands back what it does not know; the newest one buries it', async () => {
  const database = await migrated('older');
  const hook = await receiver();
  const { told, engine } = await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url: hook.url } } },
      observers: { all: { source: 'orders', when: 'false', actions: [{ webhook: 'hook' }] } },
    }),
  );
  // Another instance has just loaded newer rules, and its router has queued something by them.
  await database.query(
    `insert into observers.instances (id, host, pid, version, rules_version, rules_loaded_at)
     values (gen_random_uuid(), 'elsewhere', 1, '1', 'newer', now() + interval '1 ms')`,
  );
  const uid = await emit(database, { n: 1 });
  await database.query(
    `insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, state, rule_version)
     select id, created_at, uid, 'new-one', 'webhook-1', 'hook', 'ready', 'newer' from observers.events;
     select pg_notify('pg_observers_wake', 'deliveries')`,
  );
  await eventually('a release', () => told.some((e) => e.type === 'delivery.released' && e.reason === 'unknown rule'));
  expect(await count(database, 'deliveries', "state = 'ready' and attempts = 0")).toBe(1);
  expect(await count(database, 'dead_letters')).toBe(0);
  // That one left for good, and nobody knows the rule any more.
  await database.query('delete from observers.instances where rules_version = $1', ['newer']);
  await eventually('a dead letter', async () => (await count(database, 'dead_letters')) === 1);
  const { rows } = await database.query(
    "select event ->> 'uid' as uid, observer, reason, attempts, error_message from observers.dead_letters",
  );
  expect(rows).toEqual([
    {
      uid,
      observer: 'new-one',
      reason: 'rule_removed',
      attempts: 0,
      error_message: 'observer new-one has no action webhook-1 any more',
    },
  ]);
  expect(await count(database, 'attempts')).toBe(0);
  expect((await engine.status()).dead_letters).toBe(1);
});

test('an instance that has not reloaded yet never buries what the new rules of another one queue', async () => {
  const database = await migrated('rolling');
  let goOn = () => {};
  const otherHasLooked = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  // Held until then, so that the other instance finds something to claim.
  const hook = await receiver({ respond: () => otherHasLooked.then(() => ({ status: 204 })) });
  const config = (name: string) =>
    rules(database.url, {
      destinations: { hook: { webhook: { url: hook.url }, concurrency: 1 } },
      observers: { [name]: { source: 'orders', actions: [{ webhook: 'hook' }] } },
      settings: { poll_interval: '10ms' },
    });
  const router = await run(config('old'));
  await router.heard('routing.acquired');
  const other = await run(config('old'));
  await router.engine.reload(config('new'));
  await emitMany(database, 1, 20);
  await eventually('an unknown rule', () =>
    other.told.some((event) => event.type === 'delivery.released' && event.reason === 'unknown rule'),
  );
  goOn();
  await drained(database, 20);
  expect(await count(database, 'dead_letters')).toBe(0);
  expect(new Set(hook.received.entries.map(({ messageId }) => messageId)).size).toBe(20);
});

test('what is queued for a destination that no rule names is buried, lanes and replays included', async () => {
  const { database, engine } = await deadLetter('orphans');
  await engine.stop();
  await database.query(`
    insert into observers.deliveries
      (event_id, event_at, event_uid, observer, action, destination, ordering_key, state, rule_version, due_at, dead_letter_id)
    select e.id, e.created_at, e.uid, 'gone', 'a' || n, 'nowhere', case when n <= 20 then (n % 2)::text end,
           case when n between 3 and 20 then 'blocked' else 'ready' end, 'v',
           now() - case when n = 30 then interval '5 s' else interval '2 min' end,
           case when n = 29 then (select id from observers.dead_letters) end
    from observers.events e, generate_series(1, 30) n;
    insert into observers.lanes values ('nowhere', '0', 10), ('nowhere', '1', 10)`);
  await run(
    rules(database.url, {
      observers: { all: { source: 'orders', when: 'false', actions: [{ webhook: 'http://127.0.0.1:9/' }] } },
    }),
  );
  await eventually('their burial', async () => (await count(database, 'deliveries')) === 1);
  // The one that is due for seconds only: an instance that knows its destination may be starting.
  expect(await count(database, 'deliveries', "action = 'a30'")).toBe(1);
  expect(await count(database, 'lanes')).toBe(0);
  expect(await count(database, 'dead_letters', "reason = 'rule_removed' and event ->> 'uid' is not null")).toBe(29);
  expect(await count(database, 'dead_letters', "reason = 'rule_removed' and observer = 'all'")).toBe(1);
});
