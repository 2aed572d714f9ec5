import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRetryAfter } from '../../src/actions/http/retry-after.ts';
import { longestDelayMs } from '../../src/domain/retry.ts';

const now = Date.UTC(2026, 10, 20, 12, 0, 0);

describe('parseRetryAfter', () => {
  test.each([
    ['120', 120_000],
    [' 7 ', 7000],
    ['1.5', 1500],
    ['0.0001', 1],
    ['0', null],
    ['-5', null],
    ['1e30', null],
    ['9'.repeat(400), longestDelayMs],
    ['99999999', longestDelayMs],
    ['', null],
    ['soon', null],
    ['5 apples', null],
    ['0x10', null],
    ['Infinity', null],
    ['NaN', null],
    [undefined, null],
    ['Fri, 20 Nov 2026 12:00:30 GMT', 30_000],
    ['Friday, 20-Nov-26 12:00:30 GMT', 30_000],
    ['Fri Nov 20 12:00:30 2026', 30_000],
    ['Fri, 20 Nov 2026 11:59:30 GMT', null],
    ['Fri, 20 Nov 2126 12:00:00 GMT', longestDelayMs],
    ['Fri, 99 Foo 2026 12:00:00 GMT', null],
    ['2026-11-20T12:00:30Z', null],
  ])('%j → %j', (value, expected) => expect(parseRetryAfter(value, now)).toBe(expected));

  test('whatever a receiver sends, it is nothing or a delay within bounds', () => {
    fc.assert(
      fc.property(fc.string(), (value) => {
        const ms = parseRetryAfter(value, now);
        return ms === null || (Number.isInteger(ms) && ms > 0 && ms <= longestDelayMs);
      }),
    );
  });
});
