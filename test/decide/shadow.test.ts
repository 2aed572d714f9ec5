// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { expect, test } from 'vitest';
import { defineConfig } from '../../src/config/index.ts';
import { decide, decideAgain } from '../../src/pipeline/decide/decide.ts';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { readDatabaseStatus } from '../../src/transport/postgres/status.ts';
import { count, emit, eventually, migrated, receiver, rules, run } from '../deliver/fixture.ts';
import { record } from '../expression/record.ts';
import { hotRules, hotTable, openRival, openSession, prepare } from './support.ts';

const secret = 'whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=';

const observersOf = (mode: 'live' | 'shadow') => ({
  tried: {
    source: 'orders',
    when: 'payload.n > 1',
    mode,
    order_by: 'event.key',
    actions: [
      { webhook: 'hook', body: { n: '${{ payload.n }}', total: '${{ payload.total }}', token: '${API_TOKEN}' } },
      { webhook: 'hook', headers: { 'x-bad': '${{ payload.n + "x" }}' } },
    ],
  },
  running: { source: 'orders', actions: [{ webhook: 'hook' }] },
});

test('what a shadow would send is recorded in the history, without secrets, and nothing of it is sent or queued', async () => {
  const database = await migrated('shadow');
  const hooks = await receiver();
  const config = rules(
    database.url,
    { destinations: { hook: { webhook: { url: hooks.url, secret } } }, observers: observersOf('shadow') },
    { API_TOKEN: 'a-token-that-nobody-may-see' },
  );
  await run(config);
  await emit(database, { n: 1 });
  await emit(database, { n: 2, total: 12345678901234567890n.toString() }, 'k');
  await emit(database, { n: 'x' });
  await eventually(
    'three deliveries of the running rule',
    async () => (await count(database, 'attempts', "outcome = 'delivered'")) === 3,
  );

  const { rows } = await database.query(
    `select observer, action, destination, delivery_id, rule_version, request, error_class, error_message, tenant, event_id::int
     from observers.attempts where outcome = 'shadow' order by event_id, action`,
  );
  const version = config.observers.get('tried')?.version;
  expect(rows).toMatchObject([
    {
      observer: 'tried',
      action: 'webhook-1',
      destination: 'hook',
      delivery_id: null,
      rule_version: version,
      event_id: 2,
      request: { method: 'POST', body: { n: 2, total: '12345678901234567890', token: '[redacted]' } },
      error_class: null,
    },
    {
      action: 'webhook-2',
      request: null,
      error_class: 'template',
      error_message: expect.stringContaining('no such overload'),
    },
    { action: '', destination: '', event_id: 3, error_class: 'condition', request: null },
  ]);
  expect(JSON.stringify(rows)).not.toContain('a-token-that-nobody-may-see');
  expect(hooks.received.entries.map(({ body }) => JSON.parse(body).type)).toEqual([
    'orders.emit',
    'orders.emit',
    'orders.emit',
  ]);
  // No dead letter, no lane, and the deliveries of the running rule are all there ever were.
  expect(await count(database, 'dead_letters')).toBe(0);
  expect(await count(database, 'lanes')).toBe(0);
  expect((await database.query('select last_value::int as n from observers.deliveries_id_seq')).rows).toEqual([
    { n: 3 },
  ]);

  const pool = createPool(database.url, 2);
  const { shadows } = await readDatabaseStatus(pool).finally(() => pool.end());
  expect(shadows).toMatchObject([{ observer: 'tried', records: 3, faults: 2 }]);
});

test('what was queued before its observer went into shadow mode is not sent, but kept as a dead letter', async () => {
  const database = await migrated('shadow_late');
  const hooks = await receiver({ respond: () => ({ status: 503 }) });
  const configOf = (mode: 'live' | 'shadow') => {
    const { tried } = observersOf(mode);
    const [first] = tried.actions;
    return rules(
      database.url,
      {
        destinations: { hook: { webhook: { url: hooks.url }, retry: { initial: '1s', max: '1s', jitter: 'none' } } },
        observers: { tried: { ...tried, actions: first === undefined ? [] : [first] } },
      },
      { API_TOKEN: 'x' },
    );
  };
  const { engine } = await run(configOf('live'));
  await emit(database, { n: 2 }, 'k');
  await eventually('a first attempt', async () => (await count(database, 'attempts')) > 0);
  await engine.reload(configOf('shadow'));
  const sent = hooks.received.total;
  const letter = await eventually('a dead letter', async () => {
    const { rows } = await database.query('select reason, error_message from observers.dead_letters');
    return rows[0];
  });
  expect(letter).toEqual({
    reason: 'rule_removed',
    error_message: 'observer tried is in shadow mode now: make it live and replay this, or discard it',
  });
  expect(hooks.received.total).toBe(sent);
  expect(await count(database, 'lanes')).toBe(0);
});

test('a condition that is asked again stays a dead letter while its observer is in shadow mode', () => {
  const config = defineConfig(
    {
      version: 1,
      database: 'postgres://localhost/x',
      sources: { orders: { topic: 'orders' } },
      observers: { tried: { source: 'orders', mode: 'shadow', actions: [{ webhook: 'http://127.0.0.1:9/' }] } },
    },
    { env: {} },
  );
  const event = record({ operation: 'emit', source: 'orders', payload: '{}' });
  const again = decideAgain({ deadLetterId: '1', observer: 'tried', ruleVersion: 'x', event }, new RuleIndex(config));
  expect(again).toMatchObject({
    deliveries: [],
    faults: [{ observer: 'tried', message: expect.stringContaining('is in shadow mode') }],
  });
});

test('one commit takes shadows and what is over a quota; one that comes too late takes neither', async () => {
  const prepared = await prepare('shadow_quota', hotTable, hotRules(true));
  const { database } = prepared;
  const session = await openSession(database.url);
  const rival = await openRival(database.url);
  await database.query('update public.hot set v = 1 where id <= 2');
  const decided = decide(await session.read(), prepared.rules);
  await rival.read();
  const [event] = decided.events;
  if (event === undefined) throw new Error('no event');
  const shadow = {
    event,
    observer: 'tried',
    action: 'a',
    destination: 'd',
    ruleVersion: 'v',
    request: { text: 'a\u0000b' },
    errorClass: null,
    errorMessage: null,
  };
  const decisions = { deliveries: [], faults: [], overQuota: decided.deliveries, shadows: [shadow, shadow] };
  expect(await session.commit(decisions)).toEqual([]);
  expect(await rival.commit(decisions)).toBeNull();
  expect(await count(database, 'dead_letters', "reason = 'over_quota'")).toBe(2);
  const { rows } = await database.query(
    "select event_uid::text as uid, request from observers.attempts where outcome = 'shadow'",
  );
  const recorded = { uid: event.uid, request: { text: 'a\ufffdb' } };
  expect(rows).toEqual([recorded, recorded]);
  await rival.close();
});
