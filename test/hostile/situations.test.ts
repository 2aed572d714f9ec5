import { expect, onTestFinished, test } from 'vitest';
import { startBehavingReceiver } from '../../src/receivers/behaving-receiver.ts';
import { startSlackReceiver } from '../../src/receivers/slack-receiver.ts';
import { startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { retryDeadLetter } from '../../src/transport/postgres/dead-letters.ts';
import { disableDestination, enableDestination } from '../../src/transport/postgres/destination-holds.ts';
import { count, emit, eventually, migrated, receiver, rules, run } from '../deliver/fixture.ts';

/** What the matrix can't say as an answer of a receiver. */

test('410, enabled again by a person: what waited is delivered', async () => {
  const database = await migrated('hostile_gone');
  const hook = await behaving();
  await run(
    rules(database.url, {
      destinations: { hook: { webhook: { url: `${hook.url}/status/410,200` } } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    }),
  );
  await emit(database, {});
  const disabled = () => count(database, 'destinations', "name = 'hook' and disabled_by = 'receiver'");
  await eventually('a disabled destination', async () => (await disabled()) === 1);
  await enableDestination(database.pool(), 'hook');
  await eventually('an empty queue', async () => (await count(database, 'deliveries')) === 0);
  expect(hook.received.entries.map(({ attempt }) => attempt)).toEqual([1, 2]);
  expect(await count(database, 'dead_letters')).toBe(0);
});

test('disabled between enqueue and send: it waits without an attempt, also for a process that starts later', async () => {
  const database = await migrated('hostile_disabled');
  const hook = await behaving();
  const config = (url: string) =>
    rules(database.url, {
      destinations: { hook: { webhook: { url }, retry: { attempts: 2, initial: '1h', max: '1h' } } },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    });
  const first = await run(config(`${hook.url}/status/503`));
  await emit(database, {});
  await eventually(
    'one that waits for its retry',
    async () => (await count(database, 'deliveries', "state = 'ready' and attempts = 1")) === 1,
  );
  await disableDestination(database.pool(), 'hook', 'maintenance');
  await first.engine.stop();
  await database.query('update observers.deliveries set due_at = now()');
  const second = await run(config(`${hook.url}/status/200`));
  expect((await second.engine.status()).destinations).toMatchObject([{ name: 'hook', state: 'disabled' }]);
  expect(await count(database, 'deliveries', "state = 'ready' and attempts = 1")).toBe(1);
  await enableDestination(database.pool(), 'hook');
  await eventually('an empty queue', async () => (await count(database, 'deliveries')) === 0);
  expect(hook.received.total).toBe(2);
});

test('a manual retry while an automatic one is pending changes nothing, and the letter is replayed once', async () => {
  const database = await migrated('hostile_pending');
  const hook = await behaving();
  const config = (path: string, initial: string) =>
    rules(database.url, {
      destinations: {
        hook: { webhook: { url: `${hook.url}${path}` }, retry: { attempts: 5, initial, max: initial, jitter: 'none' } },
      },
      observers: { all: { source: 'orders', actions: [{ webhook: 'hook' }] } },
    });
  const { engine } = await run(config('/status/400', '1ms'));
  await emit(database, {});
  await eventually('a dead letter', async () => (await count(database, 'dead_letters', "reason = 'rejected'")) === 1);
  const { rows } = await database.query<{ id: string }>('select id::text from observers.dead_letters');
  const id = rows[0]?.id ?? '';
  await engine.reload(config('/status/503,200', '1h'));
  const pool = database.pool();
  expect(await retryDeadLetter(pool, id)).toBe(true);
  const waiting = "state = 'ready' and due_at > now() + interval '30 minutes'";
  await eventually('an automatic retry in an hour', async () => (await count(database, 'deliveries', waiting)) === 1);
  expect(await retryDeadLetter(pool, id)).toBe(false);
  expect(await count(database, 'deliveries')).toBe(1);
  await database.query('update observers.deliveries set due_at = now()');
  await engine.reload(config('/status/503,200', '2h'));
  await eventually('its end', async () => (await count(database, 'dead_letters')) === 0);
  expect(hook.received.entries.map(({ path }) => path)).toEqual(['/status/400', '/status/503,200', '/status/503,200']);
});

test('a mail server that says nothing delays neither Slack nor a webhook of the same event', async () => {
  const database = await migrated('hostile_mail');
  const mail = await startSmtpReceiver({ respond: () => 'hang' });
  onTestFinished(() => mail.close());
  const slack = await startSlackReceiver();
  onTestFinished(() => slack.close());
  const hook = await receiver();
  await run(
    rules(database.url, {
      destinations: {
        mail: { email: { smtp: mail.url, from: 'orders@shop.example' }, timeout: '10m', concurrency: 2 },
        slack: { slack: { token: 'xoxb-1', api_url: slack.apiUrl } },
      },
      observers: {
        all: {
          source: 'orders',
          actions: [
            { email: 'mail', to: 'ann@example.com', subject: 'Hello', text: 'Hello' },
            { slack: 'slack', channel: '#sales', text: 'Hello' },
            { webhook: hook.url },
          ],
        },
      },
    }),
  );
  for (let n = 0; n < 20; n++) await emit(database, { n });
  await Promise.all([slack.received.waitFor(20), hook.received.waitFor(20)]);
  expect(mail.received.total).toBe(0);
  expect(await count(database, 'attempts', "destination = 'mail'")).toBe(0);
});

test('a header value of an event ends no line, and adds no header', async () => {
  const database = await migrated('hostile_header');
  const hook = await receiver();
  const headers = { 'x-note': '${{ payload.note }}' };
  await run(
    rules(database.url, {
      observers: { all: { source: 'orders', actions: [{ webhook: hook.url, headers }] } },
    }),
  );
  await emit(database, { note: 'one\r\nx-evil: yes\r\n\r\n{}' });
  const [request] = await hook.received.waitFor(1);
  expect(request?.headers).toMatchObject({ 'x-note': 'onex-evil: yes{}' });
  expect(request?.headers).not.toHaveProperty('x-evil');
});

test.each([
  [{ 'x-note': 'one\r\nx-evil: yes' }, 'has a line break or control character'],
  [{ 'x-note': 'one\0' }, 'has a line break or control character'],
  [{ 'x-note': 'one', 'X-Note': 'two' }, 'is given twice'],
  [{ 'Webhook-Signature': 'v1,mine' }, 'is set by pg-observers'],
  [{ 'content-length': '3' }, 'is set by pg-observers'],
  [{ 'x note': 'one' }, 'is not a header name'],
])('headers %j are refused when the file is read', (headers, message) => {
  const destinations = { hook: { webhook: { url: 'http://127.0.0.1/', headers } } };
  expect(() => rules('postgres://127.0.0.1/none', { destinations })).toThrow(message);
});

async function behaving() {
  const started = await startBehavingReceiver();
  onTestFinished(() => started.close());
  return started;
}
