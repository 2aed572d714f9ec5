/** What only the whole engine shows: which database it refuses, and what a receiver is told of a source's name. */

import { expect, onTestFinished, test } from 'vitest';
import { createEngine } from '../../src/engine.ts';
import { startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import { configOf, drain, hotTable, openSession, prepare, type Rules, until } from './support.ts';

test('on a copy of another environment’s database it starts nothing, so that what was on its way is not sent twice', async () => {
  const { hook, rules } = await receiver({ hot: { table: 'public.hot' } }, 'hot');
  const prepared = await prepare('engine_environment', hotTable, rules);
  const { database } = prepared;
  await database.query('update public.hot set v = v + 1 where id = 1');
  const session = await openSession(database.url, { environment: 'production' });
  await drain(session, prepared.rules);
  await session.close();
  const config = (environment: string) => configOf(database, rules, { environment });
  await expect(createEngine(config('staging')).start()).rejects.toThrow(/belongs to the environment "production"/);
  expect(hook.received.total).toBe(0);
  const engine = createEngine(config('production'));
  onTestFinished(() => engine.stop());
  await engine.start();
  await until('its owner delivers it', () => hook.received.total === 1);
});

test('a receiver sees a topic under the name of its source', async () => {
  const { hook, rules } = await receiver({ signups: { topic: 'user.signup' } }, 'signups');
  const { database, config } = await prepare('engine_topic', '', rules);
  const engine = createEngine(config);
  onTestFinished(() => engine.stop());
  await engine.start();
  await database.query(`select observers.emit('user.signup', '{"user": 7}')`);
  await until('it is delivered', () => hook.received.total === 1);
  expect(JSON.parse(hook.received.entries[0]?.body ?? '')).toMatchObject({
    type: 'signups.emit',
    source: 'signups',
    data: { payload: { user: 7 } },
  });
});

async function receiver(sources: Rules['sources'], source: string) {
  const hook = await startWebhookReceiver();
  onTestFinished(() => hook.close());
  const rules: Rules = { sources, observers: { all: { source, actions: [{ webhook: `${hook.url}/` }] } } };
  return { hook, rules };
}
