import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chooseAnswer } from '../../src/receivers/behaving-answer.ts';
import { behaviourOfPath, behaviourWords, friendly } from '../../src/receivers/behaviour.ts';

const of = (path: string) => behaviourOfPath(friendly, path);

describe('a path', () => {
  test('says it in its leading segments, and may go on as it likes', () => {
    expect(of('/status/503,200/delay/1.5s/retry-after/date%3A1h/orders/status/404?status=500')).toEqual({
      ...friendly,
      statuses: [503, 200],
      delayMs: 1500,
      headers: { 'retry-after': 'date:1h' },
    });
  });

  test.each([
    '/',
    '/orders',
    '/Status/503',
    '/status',
    '/status/',
    '/status/99',
    '/status/503,',
    '/status/%zz',
    '/constructor/x',
  ])('%s says nothing', (path) => expect(of(path)).toEqual(friendly));

  test.each([
    '/header/a%3A%0d%0ab',
    '/retry-after/%0a',
    '/redirect/%E2%82%AC',
    '/delay/100d',
    '/drip/0B',
    '/huge-body/1TB',
    '/informational/101',
  ])('%s asks for what HTTP or a timer can not do, and says nothing', (path) => expect(of(path)).toEqual(friendly));

  test('whatever it holds, it is a behaviour, and the words before it count', () => {
    const segment = fc.oneof(fc.constantFrom(...Object.keys(behaviourWords)), fc.string(), fc.webPath());
    fc.assert(
      fc.property(fc.array(segment), (segments) => {
        expect(of(`/status/418/${segments.join('/')}`).statuses).not.toBeNull();
      }),
    );
  });
});

describe('an answer', () => {
  const statuses = (path: string) => [1, 2, 3, 4].map((attempt) => chooseAnswer(of(path), attempt, () => 0.5).status);

  test.each([
    ['/', [204, 204, 204, 204]],
    ['/body/x', [200, 200, 200, 200]],
    ['/redirect/loop', [308, 308, 308, 308]],
    ['/status/503,429,200', [503, 429, 200, 200]],
    ['/fail-rate/0.6/status/200', [503, 503, 503, 503]],
    ['/fail-rate/0.5/status/200', [200, 200, 200, 200]],
  ])('%s: %j', (path, wanted) => expect(statuses(path)).toEqual(wanted));
});
