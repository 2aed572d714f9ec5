import { afterEach, describe, expect, test } from 'vitest';
import { email } from '../../src/actions/email/email.ts';
import { textOfHtml } from '../../src/actions/email/html-text.ts';
import type { AttachmentTemplate, EmailAction } from '../../src/domain/rules.ts';
import { type ReceivedMail, startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { attempt, emailAction, emailDestination, scopeOf, someMessageId, template } from './fixtures.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** The mail that the action comes to, at a real server. @throws ExpressionError */
async function received(
  action: Partial<EmailAction>,
  payload: unknown = null,
  messageId = someMessageId,
): Promise<ReceivedMail> {
  const receiver = await startSmtpReceiver();
  closing.push(receiver.close);
  const client = email.open(emailDestination(receiver.url));
  closing.push(() => client.close());
  const request = client.render(emailAction(action), scopeOf({ payload: JSON.stringify(payload) }), messageId);
  await client.send(request, attempt());
  const [mail] = receiver.received.entries;
  if (mail === undefined) throw new Error('nothing was received');
  return mail;
}

const attach = (content: unknown, more: Partial<AttachmentTemplate> = {}): Partial<EmailAction> => ({
  attachments: [
    {
      filename: template('order-${{ new.id }}.json', 'header'),
      content: template(content),
      contentType: null,
      encoding: 'text',
      ...more,
    },
  ],
});

describe('attachments', () => {
  test('from a row: numbers keep their digits', async () => {
    const type = template('application/json', 'header');
    const { attachments } = await received(attach('${{ new }}', { contentType: type }));
    expect(attachments.map(({ filename, contentType }) => [filename, contentType])).toEqual([
      ['order-42.json', 'application/json'],
    ]);
    expect(attachments[0]?.content.toString()).toContain('"total": 12345678901234567890.10');
  });

  test.each([
    ['text', 'Größe', Buffer.from('Größe')],
    ['base64', 'AAH/\n/w==', Buffer.from([0, 1, 255, 255])],
    ['hex', '\\x0001ffff', Buffer.from([0, 1, 255, 255])],
    ['hex', '00', Buffer.from([0])],
  ] as const)('%s %j', async (encoding, content, bytes) => {
    const { attachments } = await received(attach('${{ payload }}', { encoding }), content);
    expect(attachments[0]?.content).toEqual(bytes);
  });

  test('null is left out; a path in a name is not taken', async () => {
    const none = await received(attach('${{ payload }}'));
    expect(none.attachments).toEqual([]);
    const { attachments } = await received(
      attach('x', { filename: template('${{ payload }}', 'header') }),
      '../../etc/a\r\nb',
    );
    expect(attachments[0]?.filename).toBe('ab');
  });

  test('nothing in it names a file or an address to read', async () => {
    const { attachments } = await received(attach({ path: '/etc/passwd', href: 'http://127.0.0.1:9' }));
    expect(attachments[0]?.content.toString()).toBe('{"path":"/etc/passwd","href":"http://127.0.0.1:9"}');
  });

  test.each([
    [{ encoding: 'base64' }, 'not base64!', /^content: this is not base64$/],
    [{ encoding: 'hex' }, '\\x0', /^content: this is not hex$/],
    [{ contentType: template('${{ "a/b\\r\\nX: y" }}') }, 'x', /is not a media type$/],
    [{ filename: template('${{ "a/" }}') }, 'x', /^filename: the attachment has no name$/],
    [{}, 'x'.repeat(10 * 1024 * 1024 + 1), /^the attachments have 10485761 bytes, more than 10485760$/],
  ] as const)('%# can not be rendered', async (more, content, message) => {
    await expect(received(attach('${{ payload }}', more), content)).rejects.toThrowError(message);
  });
});

describe('headers', () => {
  test('own ones, priority and conversation', async () => {
    const one = await received(
      {
        headers: { 'X-Order': template('${{ payload }}', 'header'), 'X-None': template('${{ new.none }}', 'header') },
        priority: 'high',
        threadKey: template('order ${{ new.id }}'),
      },
      '42\r\nBcc: x@evil.example',
    );
    expect(one.headers).toMatchObject({ 'x-order': '42Bcc: x@evil.example', 'x-priority': '1 (Highest)' });
    expect(one.headers).not.toHaveProperty('bcc');
    expect(one.headers).not.toHaveProperty('x-none');
    const two = await received({ threadKey: template('order ${{ new.id }}') }, null, 'msg_other');
    const other = await received({ threadKey: template('order 43') });
    const root = one.headers.references;
    expect(root).toMatch(/^<thread_[\w-]{27}@shop\.example>$/);
    expect([one.headers['in-reply-to'], two.headers.references]).toEqual([root, root]);
    expect(other.headers.references).not.toBe(root);
    expect(two.messageId).not.toBe(one.messageId);
  });

  const header = (text: string) => template(text, 'header');

  test('unsubscribe', async () => {
    const url = header('https://shop.example/u?c=${{ payload }}');
    const both = await received({ unsubscribe: { url, mailto: header('u@shop.example'), oneClick: true } }, 'a>, <b c');
    expect(both.headers['list-unsubscribe']).toBe(
      '<https://shop.example/u?c=a%3E%2C%20%3Cb%20c>, <mailto:u@shop.example>',
    );
    expect(both.headers['list-unsubscribe-post']).toBe('List-Unsubscribe=One-Click');
    const mailOnly = await received({
      unsubscribe: { url: null, mailto: header('mailto:u@shop.example'), oneClick: true },
    });
    expect(mailOnly.headers['list-unsubscribe']).toBe('<mailto:u@shop.example>');
    expect(mailOnly.headers).not.toHaveProperty('list-unsubscribe-post');
    const asks = await received({
      unsubscribe: { url: header('https://shop.example/u'), mailto: null, oneClick: false },
    });
    expect(asks.headers).not.toHaveProperty('list-unsubscribe-post');
  });

  test.each([
    [{ url: header('${{ "javascript:x" }}'), mailto: null }, /is not an https:\/\/ URL$/],
    [{ url: null, mailto: header('a@b.example, c@d.example') }, /is not an address$/],
  ])('unsubscribe %# can not be rendered', async (target, message) => {
    await expect(received({ unsubscribe: { ...target, oneClick: true } })).rejects.toThrowError(message);
  });
});

describe('the text part of an HTML mail', () => {
  test('is made of it, and the one that is written goes before it', async () => {
    const html = template('<p>Dear ${{ payload }},</p><p>thank you!</p>', 'html');
    expect((await received({ text: null, html }, 'A & <B>')).text?.trim()).toBe('Dear A & <B>,\n\nthank you!');
    expect((await received({ html })).text?.trim()).toBe('Thank you!');
  });

  test.each([
    ['<h1>Order</h1><ul><li>one</li><li>two</li></ul>', 'Order\n\n- one\n- two'],
    ['a<br>b<br/>c', 'a\nb\nc'],
    ['<a href="https://x.example/?a=1&amp;b=2">here</a>', 'here (https://x.example/?a=1&b=2)'],
    [
      '<a href="https://x.example">https://x.example</a> <a href=\'mailto:a@x.example\'>a@x.example</a>',
      'https://x.example a@x.example',
    ],
    ['<a href="https://x.example"><img src="x"></a>', 'https://x.example'],
    ['<style>p { color: red }</style><script>1 < 2</script><!-- no > -->text', 'text'],
    ['&amp;lt; &#65;&#x42; &nbsp;&unknown; &#0;', '&lt; AB &unknown; &#0;'],
    ['<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>', 'a b\nc'],
    ['1 < 2 and 3 > 2', '1 < 2 and 3 > 2'],
    ['<!-- open', ''],
  ])('%j', (html, text) => {
    expect(textOfHtml(html)).toBe(text);
  });

  test('takes time in proportion, whatever is in it', () => {
    for (const bomb of ['<a ', '<!--', '<script>', '<a href="', '&#', '< ', '<a href="x">']) {
      textOfHtml(bomb.repeat(200_000));
    }
  });
});
