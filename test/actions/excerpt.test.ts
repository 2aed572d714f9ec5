import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cutUtf8, excerptOf } from '../../src/actions/excerpt.ts';
import { createRedactor, describeJson, redactUrl } from '../../src/actions/redaction.ts';

const asIs = (text: string) => text;

describe('excerptOf', () => {
  test('nothing is null', () => expect(excerptOf(Buffer.alloc(0), asIs)).toBeNull());

  test.each([2047, 2048, 2049])('%i bytes of ASCII', (length) => {
    expect(excerptOf(Buffer.alloc(length, 'a'), asIs)).toHaveLength(Math.min(length, 2048));
  });

  test('is cut between characters', () => {
    expect(excerptOf(`a${'é'.repeat(2000)}`, asIs)).toBe(`a${'é'.repeat(1023)}`);
    expect(excerptOf(`a${'🦊'.repeat(2000)}`, asIs)).toBe(`a${'🦊'.repeat(511)}`);
  });

  test('a secret across the cut leaves no part', () => {
    const excerpt = excerptOf(`${'x'.repeat(2040)}sup3r-s3cret`, createRedactor(['sup3r-s3cret']));
    expect(excerpt).not.toContain('sup3r');
  });

  test('any bytes become at most 2 KiB of valid UTF-8 without NUL', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 6000 }), (bytes) => {
        const excerpt = excerptOf(Buffer.from(bytes), asIs) ?? '';
        const encoded = Buffer.from(excerpt);
        return encoded.length <= 2048 && encoded.toString('utf8') === excerpt && !excerpt.includes('\0');
      }),
    );
  });
});

test('cutUtf8 never splits a character and takes all that fits', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.nat(40), (text, maxBytes) => {
      const cut = cutUtf8(text, maxBytes);
      const next = [...text.slice(cut.length)][0];
      const isFull = next === undefined || Buffer.byteLength(cut + next) > maxBytes;
      return text.startsWith(cut) && Buffer.byteLength(cut) <= maxBytes && isFull;
    }),
  );
});

describe('describeJson', () => {
  test('is parsed', () => expect(describeJson('{"a":[1,null]}')).toEqual({ a: [1, null] }));
  test.each(['{"n":12345678901234567890}', '{"n":100.00}', 'not JSON'])(
    '%s stays text: parsing would change it',
    (body) => expect(describeJson(body)).toBe(body),
  );
  test('is at most 16 KiB', () => {
    const described = describeJson(JSON.stringify('é'.repeat(20_000)));
    expect(Buffer.byteLength(described as string)).toBeLessThanOrEqual(16 * 1024);
    expect(described).toMatch(/\[cut\]$/);
  });
});

test('redactUrl keeps what identifies and hides what lets in', () => {
  expect(redactUrl(new URL('https://user:pass@host:8443/a/b?token=abc&v=1#x'))).toBe(
    'https://host:8443/a/b?token=[redacted]&v=[redacted]',
  );
});
