import { expect, onTestFinished, test } from 'vitest';
import { startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { count, emit, eventually, migrated, rules, run } from './fixture.ts';

test('who has a mail gets it once: through retries, the dead letter and its replay', async () => {
  const database = await migrated('several');
  const refusals = new Map([
    ['full@example.com', { code: 452, message: '4.2.2 mailbox full' }],
    ['gone@example.com', { code: 550, message: '5.1.1 who?' }],
  ]);
  let deferred = 0;
  const receiver = await startSmtpReceiver({
    respond: (at) => {
      if (at.stage !== 'recipient') return undefined;
      if (at.address === 'full@example.com' && refusals.has(at.address)) deferred += 1;
      // Room again, at the third try.
      if (deferred > 2) refusals.delete('full@example.com');
      return refusals.get(at.address);
    },
  });
  onTestFinished(() => receiver.close());
  const config = rules(database.url, {
    destinations: {
      mail: {
        email: { smtp: receiver.url, from: 'shop@example.com' },
        retry: { attempts: 8, initial: '10ms', max: '20ms' },
      },
    },
    observers: {
      all: {
        source: 'orders',
        actions: [{ email: 'mail', to: '${{ payload.to }}', bcc: 'gone@example.com', subject: 'x', text: 'x' }],
      },
    },
    settings: { poll_interval: '50ms' },
  });
  await run(config);
  await emit(database, { to: ['ann@example.com', 'full@example.com'] });
  await eventually('a dead letter', async () => (await count(database, 'dead_letters')) === 1);
  const envelopes = () => receiver.received.entries.map(({ envelope }) => envelope.to);
  expect(envelopes()).toEqual([['ann@example.com'], ['full@example.com']]);
  const { rows } = await database.query<Record<string, unknown>>(
    `select reason, error_class, error_message, request -> 'accepted' as accepted, attempts from observers.dead_letters`,
  );
  expect(rows).toEqual([
    {
      reason: 'rejected',
      error_class: 'smtp_550',
      error_message: expect.stringMatching(
        /for gone@example\.com \(550 5\.1\.1 who\?\); the other 2 of 3 have the mail$/,
      ),
      accepted: ['ann@example.com', 'full@example.com'],
      attempts: 3,
    },
  ]);
  // In vain once more: it stays, and knows what it knew.
  await database.query('select observers.replay(id) from observers.dead_letters');
  await eventually('the failed replay', async () => (await count(database, 'dead_letters', 'attempts = 4')) === 1);
  refusals.clear();
  await database.query('select observers.replay(id) from observers.dead_letters');
  await eventually('the replay', async () => (await count(database, 'dead_letters')) === 0);
  expect(envelopes()).toEqual([['ann@example.com'], ['full@example.com'], ['gone@example.com']]);
  expect(new Set(receiver.received.entries.map(({ messageId }) => messageId)).size).toBe(1);
  expect(await count(database, 'notes')).toBe(0);
});
