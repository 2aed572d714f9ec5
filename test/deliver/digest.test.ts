import { expect, onTestFinished, test } from 'vitest';
import type { ConfigInput } from '../../src/config/index.ts';
import { type SmtpReceiverOptions, startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import type { TestDatabase } from '../support/database.ts';
import { count, drained, eventually, migrated, rules, run } from './fixture.ts';

type EmailAction = Extract<ConfigInput['observers'], object>[string]['actions'][number];

async function mailServer(options: SmtpReceiverOptions = {}) {
  const receiver = await startSmtpReceiver(options);
  onTestFinished(() => receiver.close());
  return receiver;
}

function digesting(database: string, smtp: string, action: object = {}, destination: object = {}) {
  const email = {
    email: 'mail',
    to: '${{ payload.to }}',
    subject: 'News of ${{ payload.n }}',
    text: 'item ${{ payload.n }}',
  };
  return rules(database, {
    destinations: {
      mail: {
        email: { smtp, from: 'shop@example.com' },
        digest: '1s',
        retry: { attempts: 5, initial: '20ms', max: '40ms' },
        ...destination,
      },
    },
    observers: { all: { source: 'orders', actions: [{ ...email, ...action } as EmailAction] } },
  });
}

/** In one transaction. */
async function emitTo(database: TestDatabase, mails: readonly (readonly [n: number, to: string | string[]])[]) {
  const payloads = JSON.stringify(mails.map(([n, to]) => ({ n, to, customer: `c${n % 2}`, name: '<b>Ann</b>' })));
  await database.query(
    `select observers.emit('orders', e) from jsonb_array_elements($1::jsonb) with ordinality x(e, place) order by place`,
    [payloads],
  );
}

test('what is for the same recipients is one mail; what is for others is another one', async () => {
  const database = await migrated('digest');
  const { received, url } = await mailServer();
  const digest = { intro: 'Dear ${{ payload.name }},' };
  await run(digesting(database.url, url, { html: '<i>item ${{ payload.n }}</i>', digest }));
  await emitTo(database, [
    [1, 'ann@example.com'],
    [2, 'bob@example.com'],
    [3, 'ann@example.com'],
    [4, ['ann@example.com', 'bob@example.com']],
    [5, 'ann@example.com'],
  ]);
  await drained(database, 5);
  const mails = received.entries.map(({ envelope, subject, text, html }) => ({ to: envelope.to, subject, text, html }));
  expect(mails).toHaveLength(3);
  const line = '-'.repeat(40);
  expect(mails).toContainEqual({
    to: ['ann@example.com'],
    subject: 'News of 1',
    text: `Dear <b>Ann</b>,\n\n${line}\n\nitem 1\n\n${line}\n\nitem 3\n\n${line}\n\nitem 5\n`,
    html: '<p>Dear &lt;b&gt;Ann&lt;/b&gt;,</p>\n<hr>\n<i>item 1</i>\n<hr>\n<i>item 3</i>\n<hr>\n<i>item 5</i>\n',
  });
  expect(mails.map(({ to }) => to.join())).toContain('bob@example.com');
  expect(mails.map(({ to }) => to.join())).toContain('ann@example.com,bob@example.com');
  expect(new Set(received.entries.map(({ messageId }) => messageId)).size).toBe(3);
  // Of one event, of several.
  const events = received.entries.map(({ headers }) => 'x-pg-observers-event' in headers);
  expect(events.sort()).toEqual([false, true, true]);
});

test('a key parts what goes to the same recipients, and never joins what goes to others', async () => {
  const database = await migrated('digestkey');
  const { received, url } = await mailServer();
  await run(digesting(database.url, url, { digest: { key: '${{ payload.customer }}' } }));
  const to = 'team@example.com';
  await emitTo(database, [
    [1, to],
    [2, to],
    [3, to],
    [5, 'ann@example.com'],
  ]);
  await drained(database, 4);
  const texts = received.entries.map(({ envelope, text }) => [envelope.to[0], text?.match(/\d+(?=\n|$)/g)?.join()]);
  expect(texts.sort()).toEqual([
    ['ann@example.com', '5'],
    [to, '1,3'],
    [to, '2'],
  ]);
});

test('a mail that was refused for now goes again as it was, alone, and early for nobody else', async () => {
  const database = await migrated('digestagain');
  let refusals = 0;
  const { received, url } = await mailServer({
    respond: (at) => {
      if (at.stage !== 'recipient' || at.address !== 'full@example.com' || refusals === 2) return undefined;
      refusals += 1;
      return { code: 452, message: '4.2.2 mailbox full' };
    },
  });
  const retry = { attempts: 5, initial: '400ms', factor: 1, jitter: 'none' };
  await run(digesting(database.url, url, {}, { digest: '1500ms', retry }));
  await emitTo(database, [
    [1, 'full@example.com'],
    [2, 'full@example.com'],
    [3, 'ann@example.com'],
  ]);
  await eventually('a refusal', () => refusals > 0);
  // It waits while the refused one is tried again, twice.
  await emitTo(database, [[4, 'ann@example.com']]);
  await drained(database, 4);
  const mails = received.entries.map(({ envelope, text }) => [envelope.to[0], text?.match(/\d/g)?.join()]);
  expect(mails).toHaveLength(3);
  expect(mails).toContainEqual(['full@example.com', '1,2']);
  expect(mails.at(-1)).toEqual(['ann@example.com', '4']);
  expect(await count(database, 'attempts', "error_class = 'smtp_452'")).toBe(4);
  const { rows } = await database.query<{ waited: number }>(
    `select extract(epoch from a.started_at - e.created_at)::float8 * 1000 as waited
     from observers.attempts a join observers.events e on e.id = a.event_id where e.payload ->> 'n' = '4'`,
  );
  expect(rows[0]?.waited).toBeGreaterThanOrEqual(1_490);
});

test('of several recipients of a digest, who has it does not get it again while others are retried', async () => {
  const database = await migrated('digestseveral');
  let full = true;
  const { received, url } = await mailServer({
    respond: (at) => {
      if (at.stage !== 'recipient' || at.address !== 'full@example.com' || !full) return undefined;
      full = false;
      return { code: 452, message: '4.2.2 mailbox full' };
    },
  });
  await run(digesting(database.url, url));
  const to = ['ann@example.com', 'full@example.com'];
  await emitTo(database, [
    [1, to],
    [2, to],
  ]);
  await drained(database, 2);
  expect(received.entries.map(({ envelope }) => envelope.to)).toEqual([['ann@example.com'], ['full@example.com']]);
  expect(new Set(received.entries.map(({ messageId }) => messageId)).size).toBe(1);
  await eventually('the note is gone', async () => (await count(database, 'notes')) === 0);
});

test('more than a mail holds is another mail', async () => {
  const database = await migrated('digestmost');
  const { received, url } = await mailServer();
  await run(digesting(database.url, url, {}, { digest: { every: '1s', max: 4 } }));
  await emitTo(
    database,
    Array.from({ length: 10 }, (_, n) => [n, 'ann@example.com'] as const),
  );
  await drained(database, 10);
  expect(received.entries.map(({ text }) => text?.match(/item/g)?.length).sort()).toEqual([2, 4, 4]);
});
