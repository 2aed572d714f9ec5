import { expect, test } from 'vitest';
import { emit, migrated, receiver, rules, run } from './fixture.ts';

const written = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

/** An engine whose settings name a collector, and what the receiver is told: a change of a traced application, one of another. */
async function told(label: string, tracedShare: number | null) {
  const database = await migrated(label);
  const hook = await receiver();
  const config = (sample: number) =>
    rules(database.url, {
      settings: { opentelemetry: { endpoint: 'http://127.0.0.1:9/v1/traces', sample } },
      destinations: { hook: { webhook: { url: hook.url } } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    });
  const { engine } = await run(config(1), { tracedShare });
  const parents = async () => {
    const before = hook.received.total;
    await emit(database, { n: 1 });
    await hook.received.waitFor(before + 1);
    await database.query(`
      begin; select set_config('observers.context', '{"traceparent": "${written}"}', true);
      select observers.emit('orders', '{"n": 2}'); commit`);
    const received = await hook.received.waitFor(before + 2);
    return received.slice(before).map(({ headers }) => headers.traceparent);
  };
  return { parents, reload: (sample: number) => engine.reload(config(sample)) };
}

test('whether spans are reported says who starts the engine, not the settings: without, the context is passed on', async () => {
  const { parents, reload } = await told('untraced', null);
  expect(await parents()).toEqual([undefined, written]);
  await reload(0.5);
  expect(await parents()).toEqual([undefined, written]);
});

test('the share stays what it was when the engine started, whatever a reload says', async () => {
  const { parents, reload } = await told('traced', 1);
  const spans = [/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/, /^00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01$/];
  const expected = spans.map((span) => expect.stringMatching(span));
  const before = await parents();
  expect(before).toEqual(expected);
  expect(before).not.toContain(written);
  await reload(0);
  expect(await parents()).toEqual(expected);
});
