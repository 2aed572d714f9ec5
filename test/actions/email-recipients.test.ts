import { afterEach, describe, expect, test } from 'vitest';
import { email } from '../../src/actions/email/email.ts';
import { startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { attempt, emailAction, emailDestination, judged, scopeOf, someMessageId, template } from './fixtures.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const ann = 'ann@example.com';
const full = 'full@example.com';
const gone = 'gone@example.com';

/** A server that refuses some, and a mail to several: `send` gives each attempt what the one before has left. */
async function start(to: readonly string[], refusals: Record<string, string>) {
  const answers = new Map(Object.entries(refusals));
  const receiver = await startSmtpReceiver({
    respond: (at) => {
      const reply =
        at.stage === 'recipient' ? answers.get(at.address) : at.stage === 'message' ? answers.get('data') : '';
      return reply ? { code: Number(reply.slice(0, 3)), message: reply.slice(4) } : undefined;
    },
  });
  closing.push(receiver.close);
  const client = email.open(emailDestination(receiver.url));
  closing.push(() => client.close());
  const request = client.render(emailAction({ to: template(to, 'address') }), scopeOf(), someMessageId);
  let note: unknown = null;
  const send = async (number: number) => {
    const outcome = await judged('email', client.send(request, { ...attempt(10_000, number), note }));
    if (outcome.note !== undefined) note = outcome.note;
    return outcome;
  };
  const envelopes = () => receiver.received.entries.map(({ envelope }) => envelope.to);
  return { receiver, client, request, answers, send, envelopes, note: () => note };
}

describe('some recipients refused', () => {
  test('for now: the mail is retried, for them alone and otherwise the same', async () => {
    const { receiver, client, request, answers, send, envelopes, note } = await start([ann, full, 'bob@example.com'], {
      [full]: '452 4.2.2 mailbox full',
    });
    expect(client.noteOf?.(request)).toEqual({ of: 'delivery', key: `mail <${someMessageId}@shop.example>` });
    expect(await send(1)).toMatchObject({
      kind: 'retry',
      errorClass: 'smtp_452',
      names: ['4.2.2', 'smtp_452', '4.2.x'],
      message: expect.stringContaining(
        `refused it for ${full} (452 4.2.2 mailbox full); the other 2 of 3 have the mail`,
      ),
    });
    expect(await send(2)).toMatchObject({ kind: 'retry' });
    answers.clear();
    expect(await send(3)).toMatchObject({ kind: 'delivered' });
    expect(note()).toBeNull();
    expect(envelopes()).toEqual([[ann, 'bob@example.com'], [full]]);
    const [one, two] = receiver.received.entries;
    expect(two?.messageId).toBe(one?.messageId);
    expect(two?.headers.to).toBe(one?.headers.to);
  });

  test('for good: a dead letter about them, whose replay goes to them alone', async () => {
    const { client, request, answers, send, envelopes, note } = await start([ann, gone], { [gone]: '550 5.1.1 who?' });
    expect(await send(1)).toMatchObject({
      kind: 'rejected',
      errorClass: 'smtp_550',
      message: expect.stringContaining(`${gone} (550 5.1.1 who?); the other 1 of 2 have the mail`),
    });
    expect(client.describe(request, note())).toMatchObject({ to: [ann, gone], accepted: [ann] });
    answers.clear();
    expect(await send(1)).toMatchObject({ kind: 'delivered' });
    expect(envelopes()).toEqual([[ann], [gone]]);
  });

  test('one for now and one for good: retried for the first, dead for the second', async () => {
    const { answers, send, envelopes } = await start([ann, full, gone], {
      [full]: '450 4.2.1 later',
      [gone]: '550 5.1.1 who?',
    });
    expect(await send(1)).toMatchObject({ kind: 'retry', errorClass: 'smtp_450' });
    answers.delete(full);
    const last = await send(2);
    expect(last).toMatchObject({ kind: 'rejected', errorClass: 'smtp_550' });
    expect(last.message).toContain('the other 2 of 3');
    // A person replays the dead letter: who was refused for good is asked for again.
    answers.clear();
    expect(await send(1)).toMatchObject({ kind: 'delivered' });
    expect(envelopes()).toEqual([[ann], [full], [gone]]);
  });

  test('all for good: rejected, nobody has it', async () => {
    const { send, envelopes, note } = await start([gone, 'x@example.com'], {
      [gone]: '550 5.1.1 who?',
      'x@example.com': '550 5.1.1 who?',
    });
    expect(await send(1)).toMatchObject({ kind: 'rejected', errorClass: 'smtp_550' });
    expect(note()).toEqual({ accepted: [], refused: [] });
    expect(envelopes()).toEqual([]);
  });

  test('a refusal of the mail itself is about nobody: it goes to all of them again', async () => {
    const { answers, send, envelopes, note } = await start([ann, full], { data: '451 4.3.0 later' });
    expect(await send(1)).toMatchObject({ kind: 'retry', errorClass: 'smtp_451' });
    expect(note()).toBeNull();
    answers.clear();
    expect(await send(2)).toMatchObject({ kind: 'delivered' });
    expect(envelopes()).toEqual([[ann, full]]);
  });

  test('international domains are one recipient in either spelling', async () => {
    const { answers, send, envelopes } = await start(['a@bücher.example', ann], { [ann]: '450 4.2.1 later' });
    expect(await send(1)).toMatchObject({ kind: 'retry' });
    answers.clear();
    expect(await send(2)).toMatchObject({ kind: 'delivered' });
    expect(envelopes()).toEqual([['a@bücher.example'], [ann]]);
  });
});

describe('who it is for', () => {
  const mail = (to: unknown, more: Record<string, unknown> = {}) => {
    const client = email.open(emailDestination('smtp://127.0.0.1:9'));
    closing.push(() => client.close());
    const payload = JSON.stringify({ name: 'Müller, "Ann" <x@evil.example>, y@evil.example', ...more });
    return client.render(emailAction({ to: template(to, 'address') }), scopeOf({ payload }), someMessageId).recipients;
  };

  test('a name from data stays a name', async () => {
    const receiver = await startSmtpReceiver();
    closing.push(receiver.close);
    const client = email.open(emailDestination(receiver.url));
    closing.push(() => client.close());
    const name = 'Müller, "Ann" <x@evil.example>, y@evil.example\r\nBcc: z@evil.example';
    const to = template('${{ payload }} <${{ new.email }}>', 'address');
    await client.send(
      client.render(emailAction({ to }), scopeOf({ payload: JSON.stringify(name) }), someMessageId),
      attempt(),
    );
    const [received] = receiver.received.entries;
    expect(received?.envelope.to).toEqual([ann]);
    expect(received?.headers).not.toHaveProperty('bcc');
  });

  test.each([
    ['${{ payload.name }} <a@b.example>', {}, ['a@b.example']],
    ['${{ payload.list }}', { list: ['a@b.example', 'C <c@b.example>'] }, ['a@b.example', 'c@b.example']],
    ['${{ payload.list }}', { list: 'a@b.example, C <c@b.example>' }, ['a@b.example', 'c@b.example']],
    [['${{ payload.list }}', 'd@b.example'], { list: ['a@b.example', null] }, ['a@b.example', 'd@b.example']],
    ['A@b.example, a@B.example, A@B.EXAMPLE', {}, ['A@B.EXAMPLE', 'a@B.example']],
  ])('%j with %j', (to, payload, expected) => {
    expect(mail(to, payload)).toEqual(expected);
  });

  test.each([
    [['${{ payload.two }}'], { two: 'a@b.example, c@b.example' }, /names 2 recipients where one belongs$/],
    ['<${{ payload.two }}>', { two: 'a@b.example, c@b.example' }, /is not an email address$/],
    ['${{ payload.user }}@b.example', { user: 'x@evil.example>, y' }, /is not an email address$/],
    ['${{ payload.user }}@b.example', { user: 'x@evil.example ' }, /is not an email address$/],
    ['${{ payload.many }}', { many: Array.from({ length: 101 }, (_, i) => `a${i}@b.example`) }, /^101 recipients/],
  ])('%j with %j is refused', (to, payload, message) => {
    expect(() => mail(to, payload)).toThrowError(message);
  });
});
