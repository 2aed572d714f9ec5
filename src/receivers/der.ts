/** As much of DER (X.690) as a certificate takes. */

function element(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

export const sequence = (...items: readonly Buffer[]) => element(0x30, ...items);
export const set = (...items: readonly Buffer[]) => element(0x31, ...items);
export const octets = (content: Buffer) => element(0x04, content);
export const bits = (content: Buffer) => element(0x03, Buffer.from([0]), content);
export const utf8 = (text: string) => element(0x0c, Buffer.from(text));
export const truth = element(0x01, Buffer.from([0xff]));

/** @param bytes not negative: the first one below 0x80 */
export const integer = (bytes: Buffer) => element(0x02, bytes);

/** `[tag]`, around an element (constructed) or in place of its tag. */
export const context = (tag: number, content: Buffer, isConstructed = true) =>
  element(0x80 | (isConstructed ? 0x20 : 0) | tag, content);

/** @param dotted e.g. `2.5.4.3` */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  return element(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

function base128(value: number): number[] {
  const bytes = [value % 128];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) bytes.unshift((rest % 128) | 0x80);
  return bytes;
}

/** UTCTime up to 2049, GeneralizedTime from then on, as RFC 5280 asks. */
export function time(at: Date): Buffer {
  const digits = `${at.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
  return at.getUTCFullYear() < 2050 ? element(0x17, Buffer.from(digits.slice(2))) : element(0x18, Buffer.from(digits));
}
