import { expect, onTestFinished, test } from 'vitest';
import {
  type SlackReceiver,
  type SlackReceiverOptions,
  startSlackReceiver,
} from '../../src/receivers/slack-receiver.ts';
import type { TestDatabase } from '../support/database.ts';
import { count, drained, emit, emitMany, eventually, migrated, rules, run } from './fixture.ts';

const workspace = async (options: SlackReceiverOptions = {}): Promise<SlackReceiver> => {
  const receiver = await startSlackReceiver(options);
  onTestFinished(() => receiver.close());
  return receiver;
};

/** Each event says in which thread, or over which message, it goes: `payload.order`. */
const orderRules = (database: TestDatabase, { apiUrl }: SlackReceiver, key: Record<string, unknown>) =>
  rules(database.url, {
    destinations: {
      shop: {
        slack: { token: 'xoxb-1', api_url: apiUrl },
        concurrency: 10,
        retry: { attempts: 20, initial: '20ms', max: '50ms' },
      },
    },
    observers: {
      orders: {
        source: 'orders',
        actions: [{ slack: 'shop', channel: '#orders', text: '${{ payload.n }}', ...key }],
      },
    },
    settings: { poll_interval: '100ms' },
  });

const tops = ({ messages }: SlackReceiver) => messages.all.filter(({ threadTs }) => threadTs === null);

test('two instances, forty messages of one key at once: one begins the thread, the others reply', async () => {
  const database = await migrated('threads');
  const slack = await workspace({
    // Slow at first, and refusing now and then: whoever began must not be overtaken, and a failed one makes room.
    respond: async ({ number, threadTs }) => {
      if (threadTs === null && number <= 2) return { error: 'internal_error' };
      return number % 7 === 0 ? { error: 'service_unavailable' } : { ok: true };
    },
  });
  const config = orderRules(database, slack, { thread_key: 'order' });
  await Promise.all([run(config), run(config)]);
  await emitMany(database, 1, 40);
  await drained(database, 40);
  const [first, ...more] = tops(slack);
  expect(more).toEqual([]);
  const replies = slack.messages.all.filter(({ threadTs }) => threadTs === first?.ts);
  expect(replies).toHaveLength(39);
  expect(new Set(slack.messages.all.map(({ text }) => text)).size).toBe(40);
  expect(await count(database, 'dead_letters')).toBe(0);
  expect(await count(database, 'notes')).toBe(1);
});

test('a thread goes on after a restart, and begins anew when somebody deleted its first message', async () => {
  const database = await migrated('threads_restart');
  const slack = await workspace();
  const config = orderRules(database, slack, { thread_key: '${{ payload.order }}' });
  const one = await run(config);
  await emit(database, { n: 1, order: 7 });
  await drained(database, 1);
  await one.engine.stop();
  await run(config);
  await emit(database, { n: 2, order: 7 });
  await drained(database, 2);
  const [first] = tops(slack);
  if (first === undefined) throw new Error('there is no message');
  expect(slack.messages.all.map(({ text, threadTs }) => [text, threadTs])).toEqual([
    ['1', null],
    ['2', first.ts],
  ]);
  slack.messages.delete(first);
  await emit(database, { n: 3, order: 7 });
  await drained(database, 3);
  await emit(database, { n: 4, order: 7 });
  await drained(database, 4);
  // Another order, and none: `null` is a message by itself.
  await emit(database, { n: 5, order: 8 });
  await emit(database, { n: 6, order: null });
  await drained(database, 6);
  expect(
    tops(slack)
      .map(({ text }) => text)
      .sort(),
  ).toEqual(['3', '5', '6']);
  expect(slack.messages.all.find(({ text }) => text === '4')?.threadTs).toBe(tops(slack)[0]?.ts);
});

test('later messages edit the first one; replies hang under it', async () => {
  const database = await migrated('edits');
  const slack = await workspace();
  const config = rules(database.url, {
    destinations: { shop: { slack: { token: 'xoxb-1', api_url: slack.apiUrl } } },
    observers: {
      board: {
        source: 'orders',
        order_by: 'payload.order',
        actions: [
          {
            slack: 'shop',
            channel: '#orders',
            update_key: 'order ${{ payload.order }}',
            text: 'is ${{ payload.status }}',
          },
        ],
      },
      log: {
        source: 'orders',
        when: 'payload.status == "sent"',
        actions: [
          {
            slack: 'shop',
            channel: '#orders',
            thread_key: 'order ${{ payload.order }}',
            reply_broadcast: true,
            text: 'sent @channel',
          },
        ],
      },
    },
  });
  await run(config);
  let settled = 0;
  for (const status of ['open', 'paid', 'sent']) {
    await emit(database, { order: 7, status });
    settled += status === 'sent' ? 2 : 1;
    await drained(database, settled);
  }
  const [board, reply] = slack.messages.all;
  expect(board).toMatchObject({ text: 'is sent', edits: 2, threadTs: null });
  expect(reply).toMatchObject({ text: 'sent @channel', threadTs: board?.ts });
  const edit = slack.received.entries.find(({ method }) => method === 'chat.update');
  expect(edit?.fields).toMatchObject({ parse: 'none', blocks: '[]', attachments: '[]' });
  const replied = slack.received.entries.find(({ threadTs }) => threadTs !== null);
  expect(replied?.fields.reply_broadcast).toBe('true');
});

test('while the first message is on its way the others wait in the queue, and lose no attempts', async () => {
  const database = await migrated('waiting');
  let answer = () => {};
  const answered = new Promise<void>((resolve) => (answer = resolve));
  const slack = await workspace({
    respond: async ({ number }) => {
      if (number === 1) await answered;
      return { ok: true };
    },
  });
  const { told } = await run(orderRules(database, slack, { thread_key: 'order' }));
  await emitMany(database, 1, 3);
  await eventually('a delivery that was handed back', () =>
    told.find((event) => event.type === 'delivery.released' && event.reason.includes('note')),
  );
  expect(slack.received.total).toBe(1);
  answer();
  await drained(database, 3);
  expect(tops(slack)).toHaveLength(1);
  const { rows } = await database.query('select max(attempt) as most, count(*)::int as n from observers.attempts');
  expect(rows).toEqual([{ most: 1, n: 3 }]);
});
