import { expect, test } from 'vitest';
import type { Config } from '../../src/domain/rules.ts';
import { createLogger, HiddenSecrets, logTelemetry } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics/metrics.ts';
import { count, emitMany, eventually, migrated, receiver, rules, run } from '../deliver/fixture.ts';

/** Three deliveries that wait an hour for their second attempt, and what log and metrics are told from then on. */
async function waiting(label: string) {
  const database = await migrated(label);
  const hook = await receiver({ respond: () => ({ status: 503 }) });
  const retry = { initial: '1h', factor: 1, max: '1h', jitter: 'none' } as const;
  const configOf = (observer: string, destination: string) =>
    rules(database.url, {
      destinations: { [destination]: { webhook: { url: hook.url }, retry } },
      observers: { [observer]: { source: 'orders', actions: [{ webhook: destination }] } },
    });
  const { engine } = await run(configOf('paid', 'billing'));
  await emitMany(database, 1, 3, `'k' || n`);
  await eventually('first attempts', async () => (await count(database, 'deliveries', 'attempts = 1')) === 3);

  const lines: Record<string, unknown>[] = [];
  const stream = { write: (line: string) => void lines.push(JSON.parse(line)) };
  engine.subscribe(logTelemetry(createLogger('error', new HiddenSecrets(), stream)));
  const metrics = new Metrics();
  engine.subscribe(metrics.observe);
  return {
    database,
    lines,
    configOf,
    reload: (config: Config) => engine.reload(config),
    makeDue: () =>
      database.query(`
        update observers.deliveries set due_at = now() - interval '2 minutes';
        select pg_notify('pg_observers_wake', 'deliveries')`),
    buried: () => eventually('dead letters', async () => (await count(database, 'dead_letters')) === 3),
    counted: async () => (await metrics.text()).split('\n').filter((line) => /^pg_observers_dead_letters_/.test(line)),
  };
}

const counter = (reason: string) =>
  `pg_observers_dead_letters_total{observer="paid",destination="billing",reason="${reason}"} 3`;

test('what waits for a rule that is gone is buried, and the log and the metrics say so', async () => {
  const { reload, configOf, makeDue, buried, lines, counted } = await waiting('buried_rule');
  await reload(configOf('another', 'billing'));
  await makeDue();
  await buried();
  expect(lines.map(({ key }) => key).sort()).toEqual(['k1', 'k2', 'k3']);
  for (const line of lines) {
    expect(line).toMatchObject({
      level: 'error',
      event: 'delivery.buried',
      event_uid: expect.any(String),
      source: 'orders',
      observer: 'paid',
      action: 'webhook-1',
      destination: 'billing',
      attempts: 1,
      reason: 'rule_removed',
      error: 'observer paid has no action webhook-1 any more',
      msg: 'paid/webhook-1 is a dead letter: observer paid has no action webhook-1 any more',
    });
  }
  expect(await counted()).toEqual([counter('rule_removed')]);
});

test('so is what waits for an event that is gone', async () => {
  const { database, makeDue, buried, lines, counted } = await waiting('buried_event');
  const { rows } = await database.query<{ day: string }>(
    'select distinct tableoid::regclass::text as day from observers.events',
  );
  for (const { day } of rows) await database.query(`drop table ${day}`);
  await makeDue();
  await buried();
  expect(lines).toHaveLength(3);
  expect(lines[0]).toMatchObject({
    observer: 'paid',
    reason: 'engine_fault',
    error: 'its event is no longer in the log',
  });
  expect(lines[0]).not.toHaveProperty('event_uid');
  expect(await counted()).toEqual([counter('engine_fault')]);
});

test('what waits for a destination that is gone is told by rule, not one by one', async () => {
  const { reload, configOf, makeDue, buried, lines, counted } = await waiting('buried_orphans');
  await reload(configOf('paid', 'accounting'));
  await makeDue();
  // The minute in which a new instance might come with the old rules is over: have a look.
  await reload(configOf('paid', 'accounting'));
  await buried();
  await eventually('the log to say so', () => lines.length > 0);
  expect(lines).toEqual([
    expect.objectContaining({
      level: 'error',
      event: 'delivery.orphaned',
      observer: 'paid',
      action: 'webhook-1',
      destination: 'billing',
      reason: 'rule_removed',
      count: 3,
      msg: '3 deliveries of paid/webhook-1 went to the dead letters: no rule names the destination billing any more',
    }),
  ]);
  expect(await counted()).toEqual([counter('rule_removed')]);
});
