import { expect, test } from 'vitest';
import { module } from '../../src/actions/module/module.ts';
import type { CustomAttempt, CustomDestination } from '../../src/domain/custom-action.ts';
import { builtInOutcomes } from '../../src/domain/outcome-policy.ts';
import type { ModuleAction } from '../../src/domain/rules.ts';
import { caught } from '../expression/record.ts';
import { actionBase, attempt, judged, logged, scopeOf, services, someMessageId } from './fixtures.ts';
import { moduleDestination } from './module-fixture.ts';

const action: ModuleAction = {
  ...actionBase,
  outcomes: builtInOutcomes('module'),
  kind: 'module',
  destination: moduleDestination(null),
  input: null,
};

const opened = (custom: CustomDestination<never, never>, options: unknown = {}) =>
  module.open(moduleDestination({ open: () => custom as CustomDestination }, options), services);

async function sent(send: (request: never, attempt: CustomAttempt) => unknown, options?: unknown, timeoutMs?: number) {
  const client = opened({ send: send as CustomDestination<never, never>['send'] }, options);
  const request = client.render(action, scopeOf(), someMessageId);
  return judged('module', client.send(request, attempt(timeoutMs)));
}

test.each([
  [{ outcome: 'delivered' }, { kind: 'delivered', status: null, errorClass: null }],
  [
    { outcome: 'delivered', status: 202, response: 'ok' },
    { kind: 'delivered', status: 202, responseExcerpt: 'ok' },
  ],
  [
    { outcome: 'delivered', status: 42 },
    { kind: 'delivered', status: null },
  ],
  [
    { outcome: 'retry', message: 'later' },
    { kind: 'retry', errorClass: 'module_retry', message: 'later' },
  ],
  [
    { outcome: 'retry', message: 'slow', errorClass: 'busy', status: 400, retryAfterMs: 5_000 },
    { kind: 'retry', errorClass: 'module_busy', status: 400, retryAfterMs: 5_000 },
  ],
  [
    { outcome: 'rejected', message: 'no', status: 503 },
    { kind: 'rejected', errorClass: 'module_rejected', status: 503 },
  ],
  [
    { outcome: 'rejected', errorClass: 'No Way!' },
    { kind: 'rejected', errorClass: 'module_rejected' },
  ],
  [undefined, { kind: 'retry', errorClass: 'module_answer' }],
  [null, { kind: 'retry', errorClass: 'module_answer' }],
  ['ok', { kind: 'retry', errorClass: 'module_answer' }],
  [
    { outcome: 'maybe', status: 200 },
    { kind: 'retry', errorClass: 'module_answer' },
  ],
])('%j means %j', async (answer, meant) => {
  expect(await sent(() => answer)).toMatchObject(meant);
  expect(await sent(async () => answer)).toMatchObject(meant);
});

test('what it throws is tried again with its message, without what is secret in its options', async () => {
  const options = { token: 's3cret-t0ken', nested: [{ api_key: 'k3y-k3y-k3y' }] };
  const fails = (error: unknown) => () => {
    throw error;
  };
  const message = 'refused s3cret-t0ken and k3y-k3y-k3y';
  expect(await sent(fails(new Error(message)), options)).toMatchObject({
    kind: 'retry',
    errorClass: 'module_error',
    message: 'send() of ./custom.mjs: refused [redacted] and [redacted]',
  });
  for (const thrown of [undefined, null, 'text', { a: 1 }, new TypeError('', { cause: new Error('why') })]) {
    expect(await sent(fails(thrown))).toMatchObject({ kind: 'retry', errorClass: 'module_error' });
    expect(await sent(() => Promise.reject(thrown))).toMatchObject({ kind: 'retry', errorClass: 'module_error' });
  }
});

test('one that hangs is cut at its deadline, and its late answer or failure counts for nothing', async () => {
  let answerLate: (answer: unknown) => void = () => {};
  let failLate: (error: Error) => void = () => {};
  const late = await sent(() => new Promise((resolve) => (answerLate = resolve)), {}, 50);
  const failed = await sent(() => new Promise((_, reject) => (failLate = reject)), {}, 50);
  expect([late, failed]).toMatchObject([{ errorClass: 'timeout' }, { errorClass: 'timeout' }]);
  answerLate({ outcome: 'delivered' });
  // Vitest fails the file for a rejection that nobody handles.
  failLate(new Error('too late'));
});

test('it is told its deadline, its id and the number of the attempt', async () => {
  let seen: CustomAttempt | null = null;
  const before = Date.now();
  await sent((_, context) => {
    seen = context;
    return { outcome: 'delivered' };
  });
  expect(seen).toMatchObject({ id: someMessageId, attempt: 1, signal: expect.any(AbortSignal) });
  const { deadline } = seen as unknown as CustomAttempt;
  expect(deadline.getTime()).toBeGreaterThanOrEqual(before + 10_000);
});

test('without input it gets the envelope, and what it renders is what is sent', () => {
  const client = opened({ send: () => ({ outcome: 'delivered' }) });
  expect(client.render(action, scopeOf({ new: '{"id": 9007199254740993}' }), someMessageId).request).toMatchObject({
    type: 'orders.update',
    data: { new: { id: 9007199254740993n } },
  });
  const rendering = opened({
    render: (_: never, { id, action, observer }) => ({ id, action, observer }) as never,
    send: () => ({ outcome: 'delivered' }),
  });
  expect(rendering.render(action, scopeOf(), someMessageId).request).toEqual({
    id: someMessageId,
    action: 'action-1',
    observer: 'big-order-paid',
  });
});

test('a render that throws or is async makes what can not be rendered', () => {
  const client = opened({
    render: () => {
      throw new Error('no summary');
    },
    send: () => ({ outcome: 'delivered' }),
  });
  expect(caught(() => client.render(action, scopeOf(), someMessageId))).toMatchObject({
    name: 'ExpressionError',
    message: 'render() of ./custom.mjs: no summary',
  });
  const later = opened({ render: (async () => {}) as never, send: () => ({ outcome: 'delivered' }) });
  expect(caught(() => later.render(action, scopeOf(), someMessageId))).toMatchObject({ name: 'ExpressionError' });
});

test.each([
  [null, 'is not loaded'],
  [{ open: () => ({}) as never }, 'returns nothing with a `send`'],
  [{ open: () => undefined as never }, 'returns nothing with a `send`'],
  [{ open: (async () => ({ send: () => {} })) as never }, 'it is async'],
  [
    {
      open: () => {
        throw new Error('no key');
      },
    },
    'open() of ./custom.mjs: no key',
  ],
])('a module that can not be opened is refused: %#', (custom, message) => {
  const error = caught(() => module.open(moduleDestination(custom), services));
  expect(error).toMatchObject({ name: 'UserError', message: expect.stringContaining(message) });
});

test('it can write to the log, and a close that fails harms nobody', async () => {
  const client = module.open(
    moduleDestination(
      {
        open: (_, { log }) => {
          log('warn', 'opened with s3cret-t0ken', { a: 1 });
          return {
            send: () => ({ outcome: 'delivered' }),
            close: () => {
              throw new Error('no');
            },
          };
        },
      },
      { token: 's3cret-t0ken' },
    ),
    services,
  );
  expect(logged.at(-1)).toMatchObject({ level: 'warn', message: 'opened with [redacted]', fields: { a: 1 } });
  await client.close();
});
