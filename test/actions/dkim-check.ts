import { createHash, type KeyObject, verify } from 'node:crypto';

/** By RFC 6376, for rsa-sha256 and relaxed/relaxed: whether the first signature holds, and the names of the headers it covers. */
export function checkDkim(
  raw: Buffer,
  publicKey: KeyObject,
): { readonly valid: boolean; readonly tags: Map<string, string> } {
  const text = raw.toString('latin1');
  const split = text.indexOf('\r\n\r\n');
  const headers = text.slice(0, split).split(/\r\n(?![ \t])/);
  const signature = headers.find((header) => /^dkim-signature:/i.test(header)) ?? '';
  const tags = new Map(
    signature
      .slice(signature.indexOf(':') + 1)
      .split(';')
      .map((tag) => [tag.slice(0, tag.indexOf('=')).trim(), tag.slice(tag.indexOf('=') + 1).replace(/\s/g, '')]),
  );
  const body = text.slice(split + 4);
  const bodyHash = createHash('sha256').update(relaxedBody(body), 'latin1').digest('base64');
  // Of a repeated header the last one counts first.
  const left = [...headers].reverse();
  const signed = (tags.get('h') ?? '').split(':').flatMap((name) => {
    const index = left.findIndex((header) => header.slice(0, header.indexOf(':')).toLowerCase() === name.toLowerCase());
    return index === -1 ? [] : left.splice(index, 1);
  });
  const bare = relaxedHeader(signature.replace(/(\bb=)[^;]*/, '$1'));
  const data = [...signed.map((header) => `${relaxedHeader(header)}\r\n`), bare].join('');
  const holds = verify('sha256', Buffer.from(data, 'latin1'), publicKey, Buffer.from(tags.get('b') ?? '', 'base64'));
  return { valid: holds && tags.get('bh') === bodyHash, tags };
}

function relaxedHeader(header: string): string {
  const colon = header.indexOf(':');
  const value = header
    .slice(colon + 1)
    .replace(/\r\n/g, '')
    .replace(/[ \t]+/g, ' ')
    .trim();
  return `${header.slice(0, colon).trim().toLowerCase()}:${value}`;
}

function relaxedBody(body: string): string {
  const lines = body.split('\r\n').map((line) => line.replace(/[ \t]+/g, ' ').replace(/ $/, ''));
  while (lines.at(-1) === '') lines.pop();
  return lines.length === 0 ? '' : `${lines.join('\r\n')}\r\n`;
}
