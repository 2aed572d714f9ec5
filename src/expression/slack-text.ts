/** Texts that Slack shows as they are: `&lt;` would be read as that there. Whatever else has a `text` is taken for mrkdwn, to be safe. */
const literalTypes: ReadonlySet<unknown> = new Set(['plain_text', 'text', 'link', 'raw_text']);

/** Of attachments and their fields, the older form, which has no `type`. */
const mrkdwnKeys: ReadonlySet<string> = new Set(['pretext', 'fallback', 'title', 'footer', 'author_name']);

/**
 * Whether Slack reads the text under `key` of this mapping as mrkdwn. Everything else in blocks (addresses, ids, values that come
 * back when a button is pressed) must arrive as it is: with `&amp;` in it, an address leads elsewhere.
 */
export function isMrkdwn(siblings: (key: string) => unknown, key: string): boolean {
  const type = siblings('type');
  if (key === 'text') return !literalTypes.has(type);
  if (type !== undefined) return false;
  return mrkdwnKeys.has(key) || (key === 'value' && typeof siblings('title') === 'string');
}
