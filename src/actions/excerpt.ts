/** Bytes of an answer that are kept, as UTF-8. */
const excerptBytes = 2048;

/**
 * The beginning of what a receiver answered, as text that any store takes: at most 2 KiB of valid UTF-8, cut between
 * characters, without NUL (PostgreSQL's text can't hold it). null when there is nothing.
 *
 * Redacts before it cuts, so that a secret lying across the cut doesn't survive in part.
 */
export function excerptOf(answer: Buffer | string, redact: (text: string) => string): string | null {
  if (answer.length === 0) return null;
  // Also for a string by way of its bytes: half a surrogate pair is not valid UTF-8.
  const text = (typeof answer === 'string' ? Buffer.from(answer) : answer).toString('utf8');
  return cutUtf8(redact(text.replaceAll('\0', '\uFFFD')), excerptBytes);
}

/** The longest beginning of `text` that takes at most `maxBytes` bytes in UTF-8. */
export function cutUtf8(text: string, maxBytes: number): string {
  // No UTF-16 unit takes more than three bytes: most texts need no counting.
  if (text.length * 3 <= maxBytes) return text;
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes;
  while (end > 0 && ((bytes[end] ?? 0) & 0b1100_0000) === 0b1000_0000) end -= 1;
  return bytes.toString('utf8', 0, end);
}
