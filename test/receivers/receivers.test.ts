import { createTransport } from 'nodemailer';
import { request } from 'undici';
import { afterEach, describe, expect, test } from 'vitest';
import { Ledger } from '../../src/receivers/ledger.ts';
import { startSlackReceiver } from '../../src/receivers/slack-receiver.ts';
import { startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
function closeLater<R extends { close(): Promise<void> }>(receiver: R): R {
  closing.push(receiver.close);
  return receiver;
}

describe('Ledger', () => {
  test('waits for a count and for a match, past and future', async () => {
    const ledger = new Ledger<number>('numbers');
    const three = ledger.waitFor(3);
    const even = ledger.waitFor((entry) => entry % 2 === 0);
    for (const entry of [1, 3, 4]) ledger.record(entry);
    expect(await three).toEqual([1, 3, 4]);
    expect(await even).toBe(4);
    expect(await ledger.waitFor((entry) => entry === 1)).toBe(1);
  });

  test('says what it waited for', async () => {
    const ledger = new Ledger<number>('numbers');
    ledger.record(1);
    await expect(ledger.waitFor(2, 1)).rejects.toThrowError('waited 1 ms for 2 numbers; 1 arrived in all');
  });

  test('keeps no more than its capacity and counts all', () => {
    const ledger = new Ledger<number>('numbers', 10);
    for (let entry = 1; entry <= 1000; entry += 1) ledger.record(entry);
    expect(ledger.total).toBe(1000);
    expect(ledger.entries.length).toBeLessThanOrEqual(10);
    expect(ledger.entries.at(-1)).toBe(1000);
  });

  test('a listener hears arrivals until it stops', () => {
    const ledger = new Ledger<number>('numbers');
    const heard: number[] = [];
    const stop = ledger.onArrival((entry) => heard.push(entry));
    ledger.record(1);
    stop();
    ledger.record(2);
    expect(heard).toEqual([1]);
  });
});

describe('the webhook receiver', () => {
  test('records what came and answers as told', async () => {
    const receiver = closeLater(
      await startWebhookReceiver({
        respond: async ({ body }) => ({
          status: 418,
          headers: { 'x-len': String(body.length) },
          body: 'tea',
          delayMs: 1,
        }),
      }),
    );
    const headers = { 'webhook-id': 'msg_1' };
    const response = await request(`${receiver.url}/a?b`, { method: 'POST', body: 'héllo', headers });
    expect([response.statusCode, response.headers['x-len'], await response.body.text()]).toEqual([418, '5', 'tea']);
    expect(receiver.received.entries).toMatchObject([
      { number: 1, method: 'POST', path: '/a?b', messageId: 'msg_1', body: 'héllo', headers },
    ]);
  });

  test('a responder that fails is a 500', async () => {
    const receiver = closeLater(await startWebhookReceiver({ respond: () => Promise.reject(new Error('boom')) }));
    const response = await request(receiver.url, { method: 'POST', body: '' });
    expect([response.statusCode, await response.body.text()]).toEqual([500, 'Error: boom']);
  });

  test('a taken port is an error', async () => {
    const receiver = closeLater(await startWebhookReceiver());
    await expect(startWebhookReceiver({ port: Number(new URL(receiver.url).port) })).rejects.toThrowError(/EADDRINUSE/);
  });

  test('close cuts open connections and is idempotent', async () => {
    const receiver = await startWebhookReceiver({ respond: () => ({ misbehave: 'hang-before-headers' }) });
    const pending = expect(request(receiver.url, { method: 'POST', body: '' })).rejects.toThrowError();
    await receiver.received.waitFor(1);
    await Promise.all([receiver.close(), receiver.close()]);
    await pending;
  });
});

describe('the mail receiver', () => {
  test('records envelope, id, subject and text', async () => {
    const receiver = closeLater(await startSmtpReceiver());
    const from = { name: 'Ä', address: 'a@example.com' };
    await createTransport(receiver.url).sendMail({
      from,
      to: 'b@example.com',
      subject: 'Größe',
      text: 'Grüße',
      messageId: '<x@y>',
    });
    const [mail] = await receiver.received.waitFor(1);
    expect(mail).toMatchObject({
      envelope: { from: 'a@example.com', to: ['b@example.com'] },
      messageId: '<x@y>',
      subject: 'Größe',
      text: expect.stringContaining('Grüße'),
    });
    expect(mail?.raw.toString()).toContain('Message-ID: <x@y>');
  });
});

describe('the Slack receiver', () => {
  test('keeps what is posted, and knows threads, edits, channels and limits', async () => {
    const receiver = closeLater(
      await startSlackReceiver({ channels: ['#shop', 'C9'], limit: { messages: 3, perMs: 60_000 } }),
    );
    const call = async (method: string, fields: Record<string, string>) => {
      const body = new URLSearchParams(fields).toString();
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      const response = await request(`${receiver.apiUrl}${method}`, { method: 'POST', body, headers });
      return { status: response.statusCode, headers: response.headers, ...((await response.body.json()) as object) };
    };
    expect(await call('chat.postMessage', { channel: '#none', text: 'x' })).toMatchObject({
      error: 'channel_not_found',
    });
    expect(await call('chat.postMessage', { channel: 'C9' })).toMatchObject({ error: 'no_text' });
    await call('chat.postMessage', { channel: '#shop', text: 'one' });
    const [one] = receiver.messages.all;
    expect(await call('chat.update', { channel: '#shop', ts: one?.ts ?? '', text: 'by name' })).toMatchObject({
      error: 'channel_not_found',
    });
    const { channel = '', ts = '' } = one ?? {};
    expect(await call('chat.update', { channel, ts, text: 'edited' })).toMatchObject({ ok: true, ts });
    expect(await call('chat.postMessage', { channel, text: 'two', thread_ts: ts })).toMatchObject({ ok: true });
    const limited = await call('chat.postMessage', { channel, text: 'three' });
    expect(limited).toMatchObject({ ok: true });
    expect(await call('chat.postMessage', { channel, text: 'x', thread_ts: '9.9' })).toMatchObject({ status: 429 });
    expect(receiver.messages.all.map(({ text, threadTs, edits }) => [text, threadTs, edits])).toEqual([
      ['edited', null, 1],
      ['two', ts, 0],
      ['three', null, 0],
    ]);
    if (one !== undefined) receiver.messages.delete(one);
    expect(await call('chat.update', { channel: 'C9', ts, text: 'x' })).toMatchObject({ error: 'message_not_found' });
  });

  test('takes forms and JSON, and answers like Slack', async () => {
    const receiver = closeLater(await startSlackReceiver());
    const blocks = [{ type: 'divider' }];
    const post = async (body: string, type: string) => {
      const headers = { 'content-type': type, authorization: 'Bearer t' };
      const response = await request(`${receiver.apiUrl}chat.postMessage`, { method: 'POST', body, headers });
      return response.body.json();
    };
    const form = new URLSearchParams({ channel: 'C1', text: 'hi', blocks: JSON.stringify(blocks) }).toString();
    expect(await post(form, 'application/x-www-form-urlencoded')).toMatchObject({ ok: true, channel: 'C1' });
    expect(await post(JSON.stringify({ channel: 'C1', text: 'hi', blocks }), 'application/json')).toMatchObject({
      ok: true,
    });
    const [one, two] = receiver.received.entries;
    expect(one).toMatchObject({ token: 't', channel: 'C1', text: 'hi', blocks });
    expect(two).toMatchObject({ token: 't', channel: 'C1', text: 'hi', blocks });
  });

  test('another method is unknown', async () => {
    const receiver = closeLater(await startSlackReceiver());
    const response = await request(`${receiver.apiUrl}users.list`, { method: 'POST', body: '' });
    expect(await response.body.json()).toEqual({ ok: false, error: 'unknown_method' });
    expect(receiver.received.total).toBe(0);
  });
});
