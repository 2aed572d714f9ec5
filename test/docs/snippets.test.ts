import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '../../src/config/index.ts';
import { testSchema } from '../../src/config/rule-tests/schema.ts';
import { ConfigError, formatProblem } from '../../src/domain/errors.ts';
import { completed, variables } from './shop.ts';
import { extractSnippets, pages, place, readPage, type Snippet, snippetsOf } from './snippets.ts';

const all = pages.flatMap(snippetsOf);
const special = ['refused', 'conditions', 'templates', 'tests'];
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
/** Certificates and their key, by the names that the pages use. */
const certificates: Readonly<Record<string, string>> = {
  'ca.pem': 'authority.crt',
  'client.pem': 'client.crt',
  'client.key': 'client.key',
};
const readFile = (path: string) => {
  const certificate = certificates[basename(path)];
  if (certificate !== undefined) return readFileSync(new URL(`../actions/tls/${certificate}`, import.meta.url), 'utf8');
  return path.endsWith('.pem') ? pem : (variables.BILLING_WEBHOOK_SECRET ?? '');
};
const options = { env: variables, readFile };

describe('configurations', () => {
  const configs = all.filter(
    ({ language, words }) => language === 'yaml' && !special.some((word) => words.includes(word)),
  );
  it.each(configs.map((snippet) => [place(snippet), snippet] as const))('%s is valid', (_, snippet) => {
    // Empty lines before it: a message then names the line of the page.
    const text = '\n'.repeat(snippet.line - 1) + completed(snippet.text);
    expect(problemsOf(text, snippet.file)).toEqual([]);
  });

  const refused = all.filter(({ words }) => words.includes('refused'));
  it.each(refused.map((snippet) => [place(snippet), snippet] as const))('%s is refused as it says', (_, snippet) => {
    expect(`${problemsOf(snippet.text, 'observers.yaml').join('\n')}\n`).toBe(following(snippet).text);
  });
});

function problemsOf(text: string, file: string): string[] {
  try {
    parseConfig(text, { ...options, file });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(formatProblem);
    throw error;
  }
}

function following(snippet: Snippet): Snippet {
  const next = all[all.indexOf(snippet) + 1];
  if (next?.language !== 'text' || next.file !== snippet.file)
    throw new Error(`${place(snippet)}: a \`text\` block with the messages is missing behind it`);
  return next;
}

describe('the other blocks', () => {
  const json = all.filter(({ language }) => language === 'json');
  it.each(json.map((snippet) => [place(snippet), snippet] as const))('%s is JSON', (_, snippet) => {
    expect(() => JSON.parse(snippet.text)).not.toThrow();
  });

  it('have a language and words that mean something', () => {
    const known = ['yaml', 'json', 'cel', 'sh', 'sql', 'js', 'python', 'text'];
    const words = /^(no-run|background|refused|conditions|templates|tests|event|output|file=\S+)$/;
    const unknown = all.filter((s) => !known.includes(s.language) || !s.words.every((word) => words.test(word)));
    expect(unknown.map((snippet) => `${place(snippet)}  ${snippet.language} ${snippet.words.join(' ')}`)).toEqual([]);
  });
});

describe('tests of rules', () => {
  const tests = all.filter(({ words }) => words.includes('tests'));
  const validate = new Ajv({ strict: false }).compile(testSchema);
  it.each(tests.map((snippet) => [place(snippet), snippet] as const))('%s fit their schema', (_, snippet) => {
    validate(parse(snippet.text));
    expect(validate.errors ?? []).toEqual([]);
  });
});

describe('links', () => {
  it.each(pages)('of %s lead somewhere', (page) => {
    const links = [...readPage(page).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
    const local = links.filter((link) => !/^https?:/.test(link));
    expect(local.filter((link) => !leadsSomewhere(page, link))).toEqual([]);
  });
});

function leadsSomewhere(page: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : join(dirname(page), path);
  if (!existsSync(new URL(`../../${target}`, import.meta.url))) return false;
  return anchor === undefined || anchorsOf(readPage(target)).includes(anchor);
}

/** As GitHub makes them of headings. */
function anchorsOf(markdown: string): string[] {
  const headings = markdown.replaceAll(/^ *```[\s\S]*?^ *```$/gm, '').match(/^#+ .+$/gm) ?? [];
  return headings.map((heading) =>
    heading
      .replace(/^#+ /, '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

describe('ARCHITECTURE.md', () => {
  const text = readPage('ARCHITECTURE.md');

  it('names files and folders that exist', () => {
    const root = new URL('../../', import.meta.url).pathname;
    const places = ['', 'src', 'test'].flatMap((folder) =>
      readdirSync(root + folder, { recursive: folder !== '', encoding: 'utf8' }).map((path) => join(folder, path)),
    );
    const named = [...text.matchAll(/`([\w./-]+(?:\.ts|\/))`/g)].map((match) => match[1]?.replace(/\/$/, '') ?? '');
    const missing = named.filter((name) => !places.some((path) => path === name || path.endsWith(`/${name}`)));
    expect(missing).toEqual([]);
  });

  it('stays short enough to be read', () => {
    expect(text.split('\n').length).toBeLessThanOrEqual(200);
  });
});

describe('a broken page', () => {
  it('is reported by file and line', () => {
    const [snippet] = extractSnippets('docs/x.md', '# X\n\n```yaml\nsources:\n  orders: { tabel: orders }\n```\n');
    if (snippet === undefined) throw new Error('no snippet');
    expect(place(snippet)).toBe('docs/x.md:4');
    const text = '\n'.repeat(snippet.line - 1) + completed(snippet.text);
    expect(problemsOf(text, snippet.file)[0]).toMatch(/^docs\/x\.md:5:13 {2}unknown key `tabel`/);
    expect(() => extractSnippets('docs/x.md', 'a\n```sh\nls\n')).toThrow('docs/x.md:2');
  });
});
