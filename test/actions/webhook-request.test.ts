import { CloudEvent, HTTP } from 'cloudevents';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import type { WebhookAction, WebhookDestination } from '../../src/domain/rules.ts';
import { type Parameter, webhookFormats, webhookMethods } from '../../src/domain/webhook.ts';
import { compileUrl } from '../../src/expression/index.ts';
import type { ReceivedWebhook } from '../../src/receivers/webhook-receiver.ts';
import { eventRecord, scopeOf, someMessageId, template, webhookAction } from './fixtures.ts';
import { client, receive } from './loopback.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

async function sent(
  action: Partial<WebhookAction>,
  destination: Partial<WebhookDestination> = {},
  row?: string,
): Promise<ReceivedWebhook> {
  const receiver = await receive();
  expect(await client(receiver.url, { secrets: [secret], ...destination }).send(action, row)).toMatchObject({
    kind: 'delivered',
  });
  const [request] = receiver.received.entries;
  if (request === undefined) throw new Error('nothing arrived');
  return request;
}

const parameters = (values: Readonly<Record<string, unknown>>): Parameter[] =>
  Object.entries(values).map(([name, value]) => ({ name, value: template(value), source: String(value) }));

/** Not verify(): that one parses the body as JSON. */
function signatureOf({ headers, body }: ReceivedWebhook): string {
  const date = new Date(Number(headers['webhook-timestamp']) * 1000);
  return new Webhook(secret).sign(String(headers['webhook-id']), date, body);
}

describe('methods', () => {
  test.each(webhookMethods)('%s', async (method) => {
    const request = await sent({ method, body: method === 'GET' ? null : template({ id: '${{ new.id }}' }) });
    expect(request.method).toBe(method);
    expect(request.headers['webhook-id']).toBe(someMessageId);
    expect(request.headers['webhook-signature']).toBe(signatureOf(request));
    const [length, type] = [request.headers['content-length'], request.headers['content-type']];
    if (method === 'GET') expect([request.body, length, type]).toEqual(['', undefined, undefined]);
    else expect([request.body, length, type]).toEqual(['{"id":42}', '9', 'application/json']);
    expect(request.headers['transfer-encoding']).toBeUndefined();
  });

  test('DELETE has a body only when the action has one', async () => {
    const request = await sent({ method: 'DELETE' });
    expect(request).toMatchObject({ method: 'DELETE', body: '' });
    expect(request.headers['content-type']).toBeUndefined();
    expect(request.headers['webhook-signature']).toBe(signatureOf(request));
  });
});

describe('URLs and queries', () => {
  test('values are encoded for where they stand', async () => {
    const receiver = await receive();
    const url = `${receiver.url}/orders/\${{ new.id }}/?status=\${{ new.status }}`;
    const query = parameters({ note: 'a ${{ new.note }}', n: '${{ new.total }}', tag: 'x' });
    const { send } = client(url, { urlTemplate: compileUrl(url) });
    await send({ query }, '{"id":"a/b?c#d%2f","status":"x&y=z","note":"é+/","total":12345678901234567890.10}');
    expect(receiver.received.entries[0]?.path).toBe(
      '/orders/a%2Fb%3Fc%23d%252f/?status=x%26y%3Dz&note=a%20%C3%A9%2B%2F&n=12345678901234567890.10&tag=x',
    );
  });

  test('a fixed URL takes parameters of the action behind its own', async () => {
    const receiver = await receive();
    await client(`${receiver.url}/in?v=1`).send({ query: parameters({ id: '${{ new.id }}' }) });
    await client(`${receiver.url}/in`).send({ query: parameters({ id: '${{ new.id }}' }) });
    expect(receiver.received.entries.map(({ path }) => path)).toEqual(['/in?v=1&id=42', '/in?id=42']);
  });

  test('the dead letter shows the URL that was rendered, without the values of its query', () => {
    const url = 'http://127.0.0.1:9/orders/${{ new.id }}?key=${{ new.status }}';
    const { client: opened } = client(url, { urlTemplate: compileUrl(url) });
    expect(opened.describe(opened.render(webhookAction(), scopeOf(), someMessageId))).toMatchObject({
      url: 'http://127.0.0.1:9/orders/42?key=[redacted]',
    });
  });

  test('connections to many hosts are bounded, and requests to the same one share theirs', async () => {
    const receiver = await receive();
    const { port } = new URL(receiver.url);
    const url = 'http://${{ new.host }}/';
    const addresses = { guard: 'auto', allow: ['127.0.0.0/8'], deny: [] } as const;
    // 127.0.0.1 answers under every name.
    const { send } = client(url, { urlTemplate: compileUrl(url), addresses, concurrency: 2 }, (_host, _options, done) =>
      done(null, [{ address: '127.0.0.1', family: 4 }]),
    );
    const to = (host: string) => send({}, JSON.stringify({ host: `${host}.test:${port}` }));
    await to('a');
    await to('a');
    expect(receiver.connections.total).toBe(1);
    for (let i = 0; i < 100; i++) expect(await to(`host-${i}`)).toMatchObject({ kind: 'delivered' });
    expect(receiver.connections.size).toBeLessThanOrEqual(65);
    await to('a');
    expect(receiver.connections.total).toBe(102);
  });
});

describe('formats', () => {
  test.each(webhookFormats)('%s: the bytes that are signed are the bytes that are sent', async (format) => {
    const body = format === 'form' ? null : template('Zoë 🦊 ${{ new.id }}');
    const form = format === 'form' ? parameters({ name: 'Zoë 🦊 & co', id: '${{ new.id }}' }) : [];
    const request = await sent({ format, body, form });
    expect(request.headers['webhook-signature']).toBe(signatureOf(request));
    expect(request.headers['content-length']).toBe(String(Buffer.byteLength(request.body)));
    expect(request.headers['transfer-encoding']).toBeUndefined();
  });

  test('form: fields, a name as often as it has values', async () => {
    const form = [
      ...parameters({ 'a b': 'x & y=ü+', n: '${{ new.total }}', nothing: '${{ null }}' }),
      ...parameters({ n: '2' }),
    ];
    const request = await sent({ format: 'form', form });
    expect(request.headers['content-type']).toBe('application/x-www-form-urlencoded');
    expect(request.body).toBe('a%20b=x%20%26%20y%3D%C3%BC%2B&n=12345678901234567890.10&nothing=&n=2');
    expect([...new URLSearchParams(request.body)]).toEqual([
      ['a b', 'x & y=ü+'],
      ['n', '12345678901234567890.10'],
      ['nothing', ''],
      ['n', '2'],
    ]);
  });

  test('text, with a content type of the action’s own', async () => {
    expect(await sent({ format: 'text', body: template('Order ${{ new.id }}') })).toMatchObject({
      body: 'Order 42',
      headers: { 'content-type': 'text/plain; charset=utf-8' },
    });
    const xml = { 'content-type': template('application/xml', 'header') };
    expect(await sent({ format: 'text', body: template('<o/>'), headers: xml })).toMatchObject({
      body: '<o/>',
      headers: { 'content-type': 'application/xml' },
    });
  });
});

describe('CloudEvents, as the cloudevents package reads them', () => {
  const read = ({ headers, body }: ReceivedWebhook) => {
    const event = HTTP.toEvent({ headers, body });
    if (!(event instanceof CloudEvent)) throw new Error('one event is expected');
    return event;
  };
  const record = eventRecord();
  const expected = {
    specversion: '1.0',
    id: record.uid,
    source: '/pg-observers/orders',
    type: 'orders.update',
    subject: '42',
    time: '2026-11-20T12:00:00.123Z',
    datacontenttype: 'application/json',
  };

  test.each(['cloudevents', 'cloudevents_binary'] as const)('%s', async (format) => {
    const event = read(await sent({ format }));
    expect(event.validate()).toBe(true);
    expect(event.toJSON()).toMatchObject({
      ...expected,
      data: { new: { id: 42, status: 'paid' }, old: { status: 'open' }, changed: expect.arrayContaining(['status']) },
    });
  });

  test.each(['cloudevents', 'cloudevents_binary'] as const)(
    '%s with data of the action, digit for digit',
    async (format) => {
      const request = await sent({ format, body: template({ total: '${{ new.total }}' }) });
      expect(request.body).toContain('{"total":12345678901234567890.10}');
      expect(read(request).toJSON()).toMatchObject({ ...expected, data: { total: expect.anything() } });
    },
  );

  test('no header of the action replaces the format’s', async () => {
    const headers = { 'content-type': template('text/plain'), 'ce-id': template('forged'), 'ce-mine': template('1') };
    expect(read(await sent({ format: 'cloudevents_binary', headers })).toJSON()).toMatchObject({
      ...expected,
      mine: '1',
    });
    expect(await sent({ format: 'cloudevents', headers })).toMatchObject({
      headers: { 'content-type': 'application/cloudevents+json; charset=utf-8' },
    });
  });

  test('binary: attributes beyond ASCII are percent-encoded', async () => {
    const receiver = await receive();
    const { client: opened } = client(receiver.url);
    const request = opened.render(
      webhookAction({ format: 'cloudevents_binary' }),
      scopeOf({ key: '["Zoë 🦊","50% \\"x\\""]', tenant: 'a b' }),
      someMessageId,
    );
    expect(request.headers).toMatchObject({
      'ce-subject': '[%22Zo%C3%AB%20%F0%9F%A6%8A%22,%2250%25%20\\%22x\\%22%22]',
      'ce-tenant': 'a%20b',
    });
  });

  test('without key and tenant there is no subject', () => {
    const { client: opened } = client('http://127.0.0.1:9');
    const render = (format: 'cloudevents' | 'cloudevents_binary') =>
      opened.render(
        webhookAction({ format }),
        scopeOf({ key: null, operation: 'truncate', new: null, old: null }),
        someMessageId,
      );
    expect(Object.keys(JSON.parse(render('cloudevents').body))).toEqual([
      'specversion',
      'id',
      'source',
      'type',
      'time',
      'datacontenttype',
      'data',
    ]);
    expect(Object.keys(render('cloudevents_binary').headers)).not.toContain('ce-subject');
  });
});
