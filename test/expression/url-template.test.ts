import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CompileError, compileUrl } from '../../src/expression/index.ts';
import { scope } from './record.ts';

const render = (url: string, row: Readonly<Record<string, unknown>>) =>
  compileUrl(url).render(scope({ new: JSON.stringify(row) })).href;

describe('a value in the path', () => {
  const url = 'https://api.example.com/orders/${{ new.id }}/items';

  test.each([
    ['42', '42'],
    ['a/b', 'a%2Fb'],
    ['../x', '..%2Fx'],
    ['a?b#c', 'a%3Fb%23c'],
    ['%2e%2e', '%252e%252e'],
    ['a\\b', 'a%5Cb'],
    ['é 🦊', '%C3%A9%20%F0%9F%A6%8A'],
    ['@evil.test', '%40evil.test'],
    ['${{ new.id }}', '%24%7B%7B%20new.id%20%7D%7D'],
    ['\r\nx', '%0D%0Ax'],
    ['...', '...'],
  ])('%j stays in its segment', (id, segment) => {
    expect(render(url, { id })).toBe(`https://api.example.com/orders/${segment}/items`);
  });

  test.each(['.', '..', '', null])('%j is refused', (id) => {
    expect(() => render(url, { id })).toThrowError(expect.objectContaining({ name: 'ExpressionError' }));
  });

  test('that completes `..` with what stands beside it is refused', () => {
    expect(() => render('https://a.example/x/.${{ new.id }}/y', { id: '.' })).toThrowError(/segment/);
    expect(() => render('https://a.example/x/%2E${{ new.id }}/y', { id: '.' })).toThrowError(/segment/);
  });

  test('of whatever kind never changes host, number of segments, query or fragment', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', minLength: 1 }).filter((id) => !/^\.{1,2}$/.test(id)),
        (id) => {
          const parsed = new URL(render(url, { id }));
          expect(parsed.host + parsed.search + parsed.hash).toBe('api.example.com');
          expect(parsed.pathname.split('/')).toHaveLength(4);
          expect(decodeURIComponent(parsed.pathname.split('/')[2] ?? '')).toBe(id);
        },
      ),
    );
  });
});

test('a value in the query stays one value', () => {
  const url = 'https://a.example/?q=${{ new.q }}&v=1';
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (q) => {
      const { searchParams, pathname, hash } = new URL(render(url, { q }));
      expect([...searchParams]).toEqual([
        ['q', q],
        ['v', '1'],
      ]);
      expect(pathname + hash).toBe('/');
    }),
  );
});

describe('a value in the host', () => {
  test.each([
    ['https://${{ new.h }}/x', 'hooks.example.com', 'https://hooks.example.com/x'],
    ['https://${{ new.h }}/x', 'hooks.example.com:8443', 'https://hooks.example.com:8443/x'],
    ['https://${{ new.h }}/x', '[2606:4700::1]', 'https://[2606:4700::1]/x'],
    ['https://${{ new.h }}', 'a.example', 'https://a.example/'],
    ['https://${{ new.h }}.example.com/x', 'acme', 'https://acme.example.com/x'],
    ['https://${{ new.h }}:8443/x', 'a.example', 'https://a.example:8443/x'],
    ['${{ new.h }}', 'https://a.example/deep?x=1', 'https://a.example/deep?x=1'],
  ])('%s with %s', (url, h, href) => {
    expect(render(url, { h })).toBe(href);
    expect(compileUrl(url).origin).toBeNull();
  });

  test.each([
    ['https://${{ new.h }}/x', 'evil.test/path'],
    ['https://${{ new.h }}/x', 'user@evil.test'],
    ['https://${{ new.h }}/x', 'evil.test?'],
    ['https://${{ new.h }}/x', 'evil.test#'],
    ['https://${{ new.h }}/x', 'evil.test\\'],
    ['https://${{ new.h }}/x', ''],
    ['https://${{ new.h }}/x', '%65vil.test'],
    ['https://${{ new.h }}.example.com/x', 'evil.test/'],
    ['https://${{ new.h }}.example.com/x', 'a.b'],
    ['https://${{ new.h }}.example.com/x', ''],
    ['https://a.example:${{ new.h }}/x', '80@evil.test'],
    ['https://a.example:${{ new.h }}/x', 'x'],
    ['${{ new.h }}', 'ftp://a.example/'],
    ['${{ new.h }}', 'a.example'],
    ['${{ new.h }}', 'https://u:p@a.example/'],
    ['${{ new.h }}', 'file:///etc/passwd'],
  ])('%s refuses %j', (url, h) => {
    expect(() => render(url, { h })).toThrowError(expect.objectContaining({ name: 'ExpressionError' }));
  });
});

describe('at load', () => {
  test('a host that is written is known', () => {
    expect(compileUrl('https://a.example:8443/${{ new.x }}').origin).toBe('https://a.example:8443');
  });

  test.each([
    ['ftp://a.example/${{ new.x }}', /begins with http/],
    ['${{ new.x }}/path', /begins with http/],
    ['https${{ new.x }}://a', /begins with http/],
    ['https://u:p@a.example/${{ new.x }}', /user and password/],
    ['https://u@${{ new.x }}/', /user and password/],
    ['https://a b/${{ new.x }}', /does not make a URL/],
    ['https://a.example/${{ new. }}', /./],
  ])('%s is refused', (url, message) => {
    const failure = (() => {
      try {
        compileUrl(url);
      } catch (error) {
        return error;
      }
    })();
    expect(failure).toBeInstanceOf(CompileError);
    expect(String(failure)).toMatch(message);
  });
});
