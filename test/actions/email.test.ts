import PostalMime from 'postal-mime';
import { afterEach, describe, expect, test } from 'vitest';
import { email } from '../../src/actions/email/email.ts';
import type { EmailAction } from '../../src/domain/rules.ts';
import { type SmtpReceiverOptions, startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { attempt, emailAction, emailDestination, judged, scopeOf, someMessageId, template } from './fixtures.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(options: SmtpReceiverOptions = {}, smtp?: string) {
  const receiver = await startSmtpReceiver(options);
  closing.push(receiver.close);
  const client = email.open(emailDestination(smtp ?? receiver.url));
  closing.push(() => client.close());
  const send = (action: Partial<EmailAction> = {}, timeoutMs?: number) =>
    judged('email', client.send(client.render(emailAction(action), scopeOf(), someMessageId), attempt(timeoutMs)));
  return { receiver, client, send };
}

const recipients = (...addresses: string[]) => ({ to: template(addresses, 'header') });

test('after it was closed nothing is sent, whether it ever sent anything or not', async () => {
  for (const mails of [0, 1]) {
    const { receiver, client, send } = await start();
    if (mails > 0) expect(await send()).toMatchObject({ kind: 'delivered' });
    await client.close();
    expect(await send()).toMatchObject({ kind: 'retry', errorClass: 'closed' });
    expect(receiver.received.total).toBe(mails);
  }
});

describe('the mail', () => {
  test('reads as written', async () => {
    const { receiver, send } = await start();
    const outcome = await send({
      to: template(['Ann Ä <ann@example.com>', '${{ new.email }}'], 'header'),
      cc: template('bob@example.com, Cy <cy@example.com>', 'header'),
      bcc: template('dan@example.com', 'header'),
      replyTo: template('help@shop.example', 'header'),
      subject: template('Größe ${{ new.id }}', 'header'),
      text: template('Gruß\n.\nEnde'),
      html: template('<b>${{ new.status }}</b>', 'html'),
    });
    expect(outcome).toMatchObject({ kind: 'delivered', status: 250 });
    const [mail] = await receiver.received.waitFor(1);
    const parsed = await PostalMime.parse(mail?.raw ?? '');
    expect(parsed).toMatchObject({
      messageId: `<${someMessageId}@shop.example>`,
      subject: 'Größe 42',
      from: { name: 'Orders', address: 'orders@shop.example' },
      to: [{ name: 'Ann Ä', address: 'ann@example.com' }, { address: 'ann@example.com' }],
      cc: [{ address: 'bob@example.com' }, { name: 'Cy', address: 'cy@example.com' }],
      replyTo: [{ address: 'help@shop.example' }],
    });
    expect(parsed.text?.trim()).toBe('Gruß\n.\nEnde');
    expect(parsed.html?.trim()).toBe('<b>paid</b>');
    expect(mail?.headers).toMatchObject({
      'x-pg-observers-event': scopeOf().record.uid,
      'auto-submitted': 'auto-generated',
    });
    expect(mail?.headers).not.toHaveProperty('bcc');
    expect([...(mail?.envelope.to ?? [])].sort()).toEqual([
      'ann@example.com',
      'bob@example.com',
      'cy@example.com',
      'dan@example.com',
    ]);
  });

  test.each([[''], [[]], [null], ['${{ payload }}'], [['', null]]])(
    'without recipients (%j) it can not be rendered',
    async (to) => {
      const { client } = await start();
      const action = emailAction({ to: template(to, 'header') });
      expect(() => client.render(action, scopeOf(), someMessageId)).toThrowError(/^to: there is no recipient$/);
    },
  );

  test.each(['ann', 'ann@', '@example.com', 'ann@example.com\r\nRCPT TO:<x>'])('%j is not an address', async (to) => {
    const { client } = await start();
    const action = emailAction({ to: template(to) });
    expect(() => client.render(action, scopeOf(), someMessageId)).toThrowError(/is not an email address$/);
  });

  test('data can not name a file to read', async () => {
    const { receiver, send } = await start();
    await send({ text: template('{"path":"/etc/passwd"}') });
    expect(receiver.received.entries[0]?.text?.trim()).toBe('{"path":"/etc/passwd"}');
  });
});

describe('replies', () => {
  test.each([421, 450, 451, 452, 503])('%i is retried', async (code) => {
    const { send } = await start({
      respond: ({ stage }) => (stage === 'message' ? { code, message: 'no' } : undefined),
    });
    expect(await send()).toMatchObject({ kind: 'retry', status: code, errorClass: `smtp_${code}` });
  });

  test.each([550, 552, 554])('%i is rejected', async (code) => {
    const { send } = await start({
      respond: ({ stage }) => (stage === 'message' ? { code, message: 'no' } : undefined),
    });
    expect(await send()).toMatchObject({
      kind: 'rejected',
      status: code,
      responseExcerpt: expect.stringMatching(`^${code}`),
    });
  });

  test('a refused login is retried: the mail is not at fault', async () => {
    const receiver = await startSmtpReceiver({ auth: { user: 'mailer', pass: 'right' } });
    closing.push(receiver.close);
    const { send } = await start({}, receiver.url.replace('right', 'wr0ng-pass'));
    const outcome = await send();
    expect(outcome).toMatchObject({ kind: 'retry', status: 535, errorClass: 'smtp_535' });
    expect(JSON.stringify(outcome)).not.toContain('wr0ng-pass');
  });

  const refusing = (codes: Record<string, number>): SmtpReceiverOptions => ({
    respond: (at) => {
      const code = at.stage === 'recipient' ? codes[at.address] : undefined;
      return code === undefined ? undefined : { code, message: 'not here' };
    },
  });

  test('all refused for good: rejected; one of them only for now: retried', async () => {
    const { send } = await start(
      refusing({ 'gone@example.com': 550, 'gone2@example.com': 550, 'full@example.com': 452 }),
    );
    expect(await send(recipients('gone@example.com', 'gone2@example.com'))).toMatchObject({
      kind: 'rejected',
      status: 550,
    });
    expect(await send(recipients('full@example.com', 'gone@example.com'))).toMatchObject({
      kind: 'retry',
      status: 452,
    });
  });

  test('a refusal leaves the connection in use for the next mail', async () => {
    let connects = 0;
    const receiver = await startSmtpReceiver({
      respond: (at) => {
        if (at.stage === 'connect') connects += 1;
        return at.stage === 'recipient' && at.address === 'gone@example.com' ? { code: 550, message: 'no' } : undefined;
      },
    });
    closing.push(receiver.close);
    const client = email.open(emailDestination(receiver.url, { concurrency: 1 }));
    closing.push(() => client.close());
    const send = (action: Partial<EmailAction>) =>
      judged('email', client.send(client.render(emailAction(action), scopeOf(), someMessageId), attempt()));
    expect(await send(recipients('gone@example.com'))).toMatchObject({ kind: 'rejected' });
    expect(await send({})).toMatchObject({ kind: 'delivered' });
    expect(connects).toBe(1);
  });
});

describe('hostile servers', () => {
  test.each(['connect', 'sender', 'recipient', 'message'] as const)(
    'hanging at %s: a timeout with nothing left',
    async (at) => {
      const { receiver, send } = await start({ respond: ({ stage }) => (stage === at ? 'hang' : undefined) });
      expect(await send({}, 300)).toMatchObject({ kind: 'retry', errorClass: 'timeout' });
      await receiver.connections.whenEmpty();
    },
  );

  test.each(['sender', 'message'] as const)('cut at %s: retried by the policy, not by the library', async (at) => {
    let asked = 0;
    const { send } = await start({
      respond: ({ stage }) => {
        if (stage !== at) return undefined;
        asked += 1;
        return 'drop';
      },
    });
    expect(await send()).toMatchObject({ kind: 'retry', errorClass: 'connection_reset' });
    expect(asked).toBe(1);
  });

  test('an idle connection that the server has closed costs no attempt', async () => {
    const { receiver, send } = await start();
    await send();
    receiver.connections.destroyAll();
    expect(await send()).toMatchObject({ kind: 'delivered' });
  });

  test('a certificate nobody vouches for is a TLS fault', async () => {
    const { send } = await start({ starttls: true });
    expect(await send()).toMatchObject({ kind: 'retry', errorClass: 'tls' });
  });
});
