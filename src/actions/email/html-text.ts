/**
 * The text part for a mail that was written as HTML only: programs that read mails aloud or show no HTML need one, and filters
 * take a mail without it for spam. Meant for what people write in a rule, not for any page of the web; linear in its length,
 * because `raw()` inserts anything.
 */
export function textOfHtml(html: string): string {
  const reader = new HtmlReader();
  let at = 0;
  tagForm.lastIndex = 0;
  for (let tag = tagForm.exec(html); tag !== null; tag = tagForm.exec(html)) {
    reader.text(html.slice(at, tag.index));
    at = tag[0] === '<!--' ? afterComment(html, tagForm.lastIndex) : tagForm.lastIndex;
    if (tag[2] !== undefined) reader.tag(tag[2].toLowerCase(), tag[1] === '/', tag[3] ?? '');
    tagForm.lastIndex = at;
  }
  reader.text(html.slice(at));
  return reader.done();
}

/** `[^<>]`: a tag that is never closed ends at the next one. */
const tagForm = /<(\/?)([a-z][a-z0-9]*)\b([^<>]*)>|<!--/gi;

function afterComment(html: string, from: number): number {
  const end = html.indexOf('-->', from);
  return end === -1 ? html.length : end + 3;
}

const unseen: ReadonlySet<string> = new Set(['script', 'style', 'head', 'title']);
const paragraphs: ReadonlySet<string> = new Set([
  'p',
  'h1',
  'h2',
  'h3',
  'h4',
  'h5',
  'h6',
  'ul',
  'ol',
  'table',
  'blockquote',
]);
const lines: ReadonlySet<string> = new Set(['div', 'tr', 'section', 'article', 'header', 'footer', 'hr']);

class HtmlReader {
  readonly #parts: string[] = [];
  /** The element whose content nobody sees. */
  #unseen: string | null = null;
  #breaks = 0;
  /** The link that is open: its address, and where its label begins. */
  #link: { readonly href: string; readonly from: number } | null = null;

  text(html: string): void {
    const text = html.replace(/\s+/g, ' ');
    // Between two blocks a blank is none.
    if (this.#unseen !== null || text === '' || (text === ' ' && this.#breaks > 0)) return;
    this.#parts.push(decoded(text));
    this.#breaks = 0;
  }

  /** At least so many line breaks stand here. */
  #break(lines: number): void {
    if (lines > this.#breaks) this.#parts.push('\n'.repeat(lines - this.#breaks));
    this.#breaks = Math.max(lines, this.#breaks);
  }

  tag(name: string, closes: boolean, attributes: string): void {
    if (this.#unseen !== null) {
      if (closes && name === this.#unseen) this.#unseen = null;
    } else if (unseen.has(name)) {
      if (!closes) this.#unseen = name;
    } else if (name === 'a') {
      if (closes) this.#endLink();
      else this.#beginLink(attributes);
    } else if (name === 'br') this.#parts.push('\n');
    else if (name === 'li') {
      this.#break(1);
      if (!closes) this.#parts.push('- ');
    } else if (name === 'td' || name === 'th') this.#parts.push(' ');
    else if (paragraphs.has(name)) this.#break(2);
    else if (lines.has(name)) this.#break(1);
  }

  done(): string {
    return this.#parts
      .join('')
      .split('\n')
      .map((line) => line.replace(/ {2,}/g, ' ').trim())
      .join('\n')
      .replace(/\n{3,}/g, '\n\n')
      .trim();
  }

  #beginLink(attributes: string): void {
    const [, quoted, single] = /\bhref\s*=\s*(?:"([^"]*)"|'([^']*)')/i.exec(attributes) ?? [];
    const href = decoded(quoted ?? single ?? '').replace(/^mailto:/i, '');
    this.#link = href === '' || href.startsWith('#') ? null : { href, from: this.#parts.length };
  }

  #endLink(): void {
    if (this.#link === null) return;
    const { href, from } = this.#link;
    const label = this.#parts.slice(from).join('').trim();
    if (label !== href) this.#parts.push(label === '' ? href : ` (${href})`);
    this.#link = null;
  }
}

const named: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ', amp: '&' };

/** Once: what `&amp;lt;` stands for is `&lt;`. */
function decoded(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,8}));/gi, (entity, decimal, hex, name) => {
    if (name !== undefined) return named[String(name).toLowerCase()] ?? entity;
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code).toWellFormed() : entity;
  });
}
