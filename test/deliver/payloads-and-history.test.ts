import { expect, test } from 'vitest';
import { startSlackReceiver } from '../../src/receivers/slack-receiver.ts';
import { startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { count, drained, emit, eventually, migrated, receiver, rules, run } from './fixture.ts';

test.each([
  ['all', 3],
  ['failures', 2],
  ['none', 0],
] as const)('history of %s attempts', async (attempts, kept) => {
  const database = await migrated(`history_${attempts}`);
  const { url } = await receiver({ respond: ({ number }) => ({ status: number < 3 ? 500 : 200 }) });
  await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url }, retry: { initial: '5ms' } } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
      settings: { attempts },
    }),
  );
  await emit(database, { n: 1 });
  await eventually('its delivery', async () => (await count(database, 'deliveries')) === 1);
  await eventually('the end of it', async () => (await count(database, 'deliveries')) === 0);
  expect(await count(database, 'attempts')).toBe(kept);
});

test('a row of 10 MB arrives digit for digit, through claim, retry, dead letter and replay', async () => {
  const database = await migrated('large');
  await database.query('create table public.big (id bigint primary key, total numeric, note text, doc jsonb)');
  let broken = true;
  const { url, received } = await receiver({ respond: () => ({ status: broken ? 500 : 204 }) });
  await run(
    rules(database.url, {
      sources: { big: { table: 'public.big' } },
      destinations: { hook: { webhook: { url }, retry: { attempts: 2, initial: '5ms' } } },
      observers: { all: { source: 'big', actions: [{ webhook: 'hook' }] } },
    }),
  );
  await database.query(
    `insert into public.big select 9007199254740993, 123456789012345678901234567890.1230, repeat('compressible ', 600000),
       jsonb_build_object('rows', (select jsonb_agg(md5(n::text)) from generate_series(1, 70000) n))`,
  );
  await eventually('a dead letter', async () => (await count(database, 'dead_letters')) === 1);
  broken = false;
  await database.query('select observers.replay(id) from observers.dead_letters');
  await eventually('its success', async () => (await count(database, 'dead_letters')) === 0);
  expect(received.total).toBe(3);
  const [first, , last] = received.entries.map(({ body }) => body);
  expect(first?.length).toBeGreaterThan(10_000_000);
  expect(last).toBe(first);
  expect(first).toMatch(/"id": ?9007199254740993,/);
  expect(first).toMatch(/"total": ?123456789012345678901234567890\.1230[,}]/);
  expect(JSON.parse(first ?? '').data.new.doc.rows).toHaveLength(70_000);
});

test('mail and Slack: a retry of one sends none of the others again', async () => {
  const database = await migrated('kinds');
  const hook = await receiver();
  const smtp = await startSmtpReceiver();
  let refusals = 2;
  const slack = await startSlackReceiver({
    respond: () => (refusals-- > 0 ? { rateLimited: { retryAfterSeconds: 1 } } : { ok: true }),
  });
  try {
    await run(
      rules(database.url, {
        destinations: {
          mail: { email: { smtp: smtp.url, from: 'a@example.com' } },
          chat: { slack: { token: 'xoxb-1', api_url: slack.apiUrl }, retry: { initial: '10ms' } },
        },
        observers: {
          all: {
            source: 'orders',
            actions: [
              { webhook: hook.url },
              { email: 'mail', to: 'b@example.com', subject: 's', text: 't' },
              { slack: 'chat', channel: '#c', text: 'hello' },
            ],
          },
        },
      }),
    );
    await emit(database, { n: 1 });
    await drained(database, 3);
    expect([hook.received.total, smtp.received.total, slack.received.total]).toEqual([1, 1, 3]);
  } finally {
    await Promise.all([smtp.close(), slack.close()]);
  }
});
